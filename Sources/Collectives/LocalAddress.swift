import Foundation

/// Where this process listens for the others.
enum LocalAddress {
  /// The address of this machine from which packets to a host leave, and so one that the host's
  /// network can reach.
  ///
  /// Nothing is sent: connecting a datagram socket only chooses the route.
  ///
  /// - Parameters:
  ///   - host: Name or address.
  ///   - port: Any port there.
  /// - Returns: The address in digits.
  /// - Throws: ``CollectiveError/rendezvous(place:reason:)`` when the host is not known or not reached.
  static func facing(_ host: String, port: Int) throws(CollectiveError) -> String {
    var hints = addrinfo()
    hints.ai_socktype = datagram
    var found: UnsafeMutablePointer<addrinfo>?
    let status = getaddrinfo(host, "\(port)", &hints, &found)
    guard status == 0, let first = found else {
      throw .rendezvous(place: "\(host):\(port)", reason: String(cString: gai_strerror(status)))
    }
    defer { freeaddrinfo(found) }
    for info in sequence(first: first, next: { $0.pointee.ai_next }) {
      let descriptor = socket(info.pointee.ai_family, datagram, 0)
      guard descriptor >= 0 else { continue }
      defer { close(descriptor) }
      var storage = sockaddr_storage()
      var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
      var name = [CChar](repeating: 0, count: 256)
      let isFound = withUnsafeMutablePointer(to: &storage) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
          connect(descriptor, info.pointee.ai_addr, info.pointee.ai_addrlen) == 0
            && getsockname(descriptor, address, &length) == 0
            && getnameinfo(address, length, &name, 256, nil, 0, NI_NUMERICHOST) == 0
        }
      }
      if isFound {
        return String(
          decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
      }
    }
    throw .rendezvous(place: "\(host):\(port)", reason: "no network of this machine leads there")
  }

  #if canImport(Glibc) || canImport(Musl)
    private static let datagram = Int32(SOCK_DGRAM.rawValue)
  #else
    private static let datagram = SOCK_DGRAM
  #endif
}
