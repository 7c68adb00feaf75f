import Foundation
import JSONValues

#if canImport(FoundationNetworking)
  import FoundationNetworking
#endif

/// Asks one endpoint: redirects, the token, and what an answer that is no success means.
///
/// One client is used by one thread at a time.
struct HubClient {
  let endpoint: HubEndpoint
  let token: String?
  let connection: HubConnection

  private static let mostRedirects = 10
  /// The largest answer that is taken into memory.
  private static let largestAnswer = 64 << 20

  init(_ environment: HubEnvironment) throws(HubError) {
    endpoint = try environment.endpoint()
    token = try environment.token()
    connection = HubConnection(timeout: environment.timeout)
  }

  /// Sends a request, follows redirects, and waits for the head of the last answer.
  ///
  /// The token goes to the endpoint only: same scheme, host and port.
  ///
  /// - Parameters:
  ///   - url: An address of the endpoint.
  ///   - isHead: Whether the body is not wanted.
  ///   - offset: The first byte that is wanted.
  ///   - isBounded: Whether the body may end early for a slow reader.
  /// - Returns: The last answer, and what the endpoint itself said about the file on the way.
  /// - Throws: ``HubError``, or `URLError` when no answer comes.
  func open(
    _ url: URL, isHead: Bool = false, offset: Int = 0, isBounded: Bool = false
  ) throws -> (response: HubResponse, own: [String: String]) {
    var url = url
    var own: [String: String] = [:]
    for _ in 0...Self.mostRedirects {
      let request = request(url, isHead: isHead, offset: offset)
      let response = try connection.send(request, isBounded: isBounded)
      if endpoint.owns(url) { own.merge(response.headers) { _, new in new } }
      guard (300...399).contains(response.status), response.status != 304 else {
        return (response, own)
      }
      guard let text = response.headers["location"],
        let next = URL(string: text, relativeTo: url)?.absoluteURL,
        HubEndpoint.origin(of: next) != nil
      else { throw HubError.answer(url: Self.shown(url), reason: "redirects to no address") }
      // What a file is, the endpoint says; where its content lies is not asked.
      if isHead, !endpoint.owns(next) { return (response, own) }
      guard url.scheme != "https" || next.scheme == "https" else {
        throw HubError.answer(
          url: Self.shown(url), reason: "redirects to \(Self.shown(next)), which is not encrypted")
      }
      // A short body that is read leaves the connection usable.
      if (response.headers["content-length"].flatMap(Int.init) ?? .max) < 1 << 16 {
        while (try? connection.next()) != nil {}
      }
      url = next
    }
    throw HubError.answer(
      url: Self.shown(url), reason: "more than \(Self.mostRedirects) redirects")
  }

  /// Reads a body whole.
  func body(url: URL) throws -> Data {
    var body = Data()
    while let piece = try connection.next() {
      body += piece
      guard body.count <= Self.largestAnswer else {
        connection.cancel()
        throw HubError.answer(
          url: Self.shown(url), reason: "the answer has more than \(Self.largestAnswer) bytes")
      }
    }
    return body
  }

  /// The error that an answer means for a model; nil for success.
  func failure(_ response: HubResponse, url: URL, model: HubModelName) -> HubError? {
    let message = response.headers["x-error-message"].map { quoted($0, limit: 200) } ?? ""
    let code = response.headers["x-error-code"]
    switch response.status {
    case 200...299: return nil
    case 404 where code == "RevisionNotFound":
      return .noRevision(model: model.name, revision: model.revision)
    case 404 where code == "EntryNotFound" || (code == nil && url.path.contains("/resolve/")):
      return .answer(url: Self.shown(url), reason: "the file was listed, but is not there (404)")
    case 404:
      return .notFound(model: model.name, endpoint: endpoint.address, hasToken: token != nil)
    case 401, 403:
      // Without a token the hub answers 401 for what is not there, too.
      return .refused(
        model: model.name, status: response.status, isGated: code == "GatedRepo",
        hasToken: token != nil, message: message)
    default:
      let reason = "the server answers \(response.status)" + (message.isEmpty ? "" : " \(message)")
      return Self.isTransient(response.status)
        ? .unreachable(url: Self.shown(url), reason: reason)
        : .answer(url: Self.shown(url), reason: reason)
    }
  }

  /// Whether the same request may succeed a little later.
  static func isTransient(_ status: Int) -> Bool {
    [408, 425, 429, 500, 502, 503, 504].contains(status)
  }

  /// An address without its query, where signed ones hold a secret.
  static func shown(_ url: URL) -> String {
    var parts = URLComponents(url: url, resolvingAgainstBaseURL: true)
    parts?.query = nil
    parts?.user = nil
    parts?.password = nil
    return parts?.string ?? url.path
  }

  private func request(_ url: URL, isHead: Bool, offset: Int) -> URLRequest {
    var request = URLRequest(url: url)
    request.httpMethod = isHead ? "HEAD" : "GET"
    // Sizes and ranges are those of the content, not of a compressed form.
    request.setValue("identity", forHTTPHeaderField: "Accept-Encoding")
    request.setValue("graft", forHTTPHeaderField: "User-Agent")
    if offset > 0 { request.setValue("bytes=\(offset)-", forHTTPHeaderField: "Range") }
    if let token, endpoint.owns(url) {
      request.setValue("Bearer \(token)", forHTTPHeaderField: "Authorization")
    }
    return request
  }
}
