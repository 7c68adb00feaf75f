package import Foundation

/// The hub or a mirror of it, and the addresses of what it holds.
package struct HubEndpoint: Sendable {
  /// Scheme, host, port and path, without a slash at the end.
  package let address: String
  private let origin: String

  package init?(_ text: String) {
    var address = text.trimmingCharacters(in: .whitespaces)
    while address.hasSuffix("/") { address.removeLast() }
    guard let url = URL(string: address), let origin = Self.origin(of: url),
      url.query == nil, url.fragment == nil
    else { return nil }
    self.address = address
    self.origin = origin
  }

  /// Where a model's commit and list of files are, with sizes and checksums.
  package func listing(of model: HubModelName) throws(HubError) -> URL {
    let revision = Self.escaped(model.revision, alsoSlash: true)
    return try url("/api/models/\(model.name)/revision/\(revision)?blobs=true")
  }

  /// Where a file of a commit is.
  package func file(_ path: String, of name: String, commit: String) throws(HubError) -> URL {
    try url("/\(name)/resolve/\(commit)/\(Self.escaped(path, alsoSlash: false))")
  }

  /// Whether an address belongs to this endpoint, so that the token may be sent there.
  package func owns(_ url: URL) -> Bool { Self.origin(of: url) == origin }

  private func url(_ path: String) throws(HubError) -> URL {
    guard let url = URL(string: address + path) else { throw .endpoint(address) }
    return url
  }

  /// Scheme, host and port of an HTTP address; nil for another.
  static func origin(of url: URL) -> String? {
    guard let scheme = url.scheme?.lowercased(), ["http", "https"].contains(scheme),
      let host = url.host?.lowercased(), !host.isEmpty
    else { return nil }
    return "\(scheme)://\(host):\(url.port ?? (scheme == "https" ? 443 : 80))"
  }

  private static func escaped(_ text: String, alsoSlash: Bool) -> String {
    var result = ""
    for byte in text.utf8 {
      if isNameByte(byte) || byte == 0x7E || (byte == 0x2F && !alsoSlash) {
        result.unicodeScalars.append(Unicode.Scalar(byte))
      } else {
        let digits = String(byte, radix: 16, uppercase: true)
        result += "%" + (digits.count == 1 ? "0" : "") + digits
      }
    }
    return result
  }
}
