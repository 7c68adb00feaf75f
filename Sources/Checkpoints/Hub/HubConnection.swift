import Foundation

#if canImport(FoundationNetworking)
  import FoundationNetworking
#endif

/// The head of a server's answer.
struct HubResponse: Sendable {
  let status: Int
  /// Values by name in lower case.
  let headers: [String: String]
}

/// A connection that carries one exchange at a time, read piece by piece by the calling thread.
///
/// URLSession does not slow a server down for a reader that is slower. So where more than
/// ``highWater`` bytes wait, the exchange ends after them, as if the server had stopped there; the
/// reader asks for the rest again. Redirects are not followed: who asked decides what goes where.
final class HubConnection {
  /// Bytes that may wait for the reader.
  static let highWater = 32 << 20

  private let session: URLSession
  private let exchange = Exchange()
  private var task: URLSessionDataTask?

  /// - Parameter timeout: Seconds of silence after which an exchange has failed.
  init(timeout: Double) {
    let configuration = URLSessionConfiguration.ephemeral
    configuration.timeoutIntervalForRequest = timeout
    configuration.requestCachePolicy = .reloadIgnoringLocalCacheData
    configuration.urlCache = nil
    configuration.httpShouldSetCookies = false
    let queue = OperationQueue()
    queue.maxConcurrentOperationCount = 1
    session = URLSession(configuration: configuration, delegate: exchange, delegateQueue: queue)
  }

  deinit { session.invalidateAndCancel() }

  /// Sends a request and waits for the head of the answer; what is left of another is dropped.
  ///
  /// - Parameters:
  ///   - request: The request.
  ///   - isBounded: Whether the exchange may end early for a slow reader.
  /// - Returns: The head of the answer.
  /// - Throws: `URLError` when no answer comes.
  func send(_ request: URLRequest, isBounded: Bool) throws -> HubResponse {
    cancel()
    let task = session.dataTask(with: request)
    self.task = task
    exchange.begin(task.taskIdentifier, limit: isBounded ? Self.highWater : .max)
    task.resume()
    return try exchange.response()
  }

  /// The next piece of the body, or nil when there is no more.
  func next() throws -> Data? { try exchange.next() }

  /// Whether the exchange ended early for a slow reader.
  var wasCutShort: Bool { exchange.wasCutShort }

  /// Drops the rest of the exchange.
  func cancel() {
    exchange.begin(-1, limit: .max)
    task?.cancel()
    task = nil
  }
}

/// What the session's own thread and the reader share.
private final class Exchange: NSObject, URLSessionDataDelegate, @unchecked Sendable {
  private struct State {
    var identifier = -1
    var limit = Int.max
    var head: HubResponse?
    var pieces: [Data] = []
    var waiting = 0
    var isComplete = false
    var wasCutShort = false
    var failure: (any Error)?
  }

  private let condition = NSCondition()
  private var state = State()  // Guarded by the condition.

  func begin(_ identifier: Int, limit: Int) {
    condition.withLock { state = State(identifier: identifier, limit: limit) }
  }

  var wasCutShort: Bool { condition.withLock { state.wasCutShort } }

  func response() throws -> HubResponse {
    try condition.withLock {
      while state.head == nil, !state.isComplete { condition.wait() }
      if let head = state.head { return head }
      throw state.failure ?? URLError(.badServerResponse)
    }
  }

  func next() throws -> Data? {
    try condition.withLock {
      while state.pieces.isEmpty, !state.isComplete { condition.wait() }
      guard !state.pieces.isEmpty else {
        if let failure = state.failure { throw failure }
        return nil
      }
      let pieces = state.pieces
      state.pieces = []
      state.waiting = 0
      return pieces.dropFirst().reduce(into: pieces[0]) { $0.append($1) }
    }
  }

  /// Changes the state of the exchange that is under way; news of an older one are dropped.
  private func change(_ task: URLSessionTask, _ body: (inout State) -> Void) {
    condition.withLock {
      guard task.taskIdentifier == state.identifier, !state.isComplete else { return }
      body(&state)
      condition.signal()
    }
  }

  func urlSession(
    _ session: URLSession, dataTask: URLSessionDataTask, didReceive response: URLResponse,
    completionHandler: @escaping (URLSession.ResponseDisposition) -> Void
  ) {
    change(dataTask) { $0.head = Self.head(of: response) }
    completionHandler(.allow)
  }

  func urlSession(_ session: URLSession, dataTask: URLSessionDataTask, didReceive data: Data) {
    var isTooMuch = false
    change(dataTask) { state in
      state.pieces.append(data)
      state.waiting += data.count
      isTooMuch = state.waiting > state.limit
      if isTooMuch {
        state.isComplete = true
        state.wasCutShort = true
      }
    }
    if isTooMuch { dataTask.cancel() }
  }

  func urlSession(
    _ session: URLSession, task: URLSessionTask, didCompleteWithError error: (any Error)?
  ) {
    change(task) { state in
      state.failure = error
      state.isComplete = true
    }
  }

  func urlSession(
    _ session: URLSession, task: URLSessionTask,
    willPerformHTTPRedirection response: HTTPURLResponse, newRequest request: URLRequest,
    completionHandler: @escaping (URLRequest?) -> Void
  ) {
    change(task) { $0.head = Self.head(of: response) }
    completionHandler(nil)
  }

  private static func head(of response: URLResponse) -> HubResponse? {
    guard let response = response as? HTTPURLResponse else { return nil }
    var headers: [String: String] = [:]
    for (name, value) in response.allHeaderFields {
      headers["\(name)".lowercased()] = "\(value)"
    }
    return HubResponse(status: response.statusCode, headers: headers)
  }
}
