import Foundation
import Synchronization

#if canImport(Darwin)
  import Darwin
#else
  import Glibc
#endif

/// A hub with one commit on 127.0.0.1, which closes each connection after one answer.
final class HubServer: Sendable {
  struct Request: Sendable {
    let path: String
    let range: Int
    let token: String?
  }

  let port: Int
  private let descriptor: Int32
  private let files: [String: [UInt8]]
  private let list: [UInt8]
  /// Bytes of a body after which the connection is closed.
  private let cut: Int
  private let asked = Mutex<[Request]>([])

  var requests: [Request] { asked.withLock { $0 } }
  var address: String { "http://127.0.0.1:\(port)" }

  /// Starts to listen.
  ///
  /// - Parameters:
  ///   - list: The answer to the question for the files.
  ///   - files: Contents by path.
  ///   - cut: Bytes of a body after which the connection is closed.
  /// - Throws: `POSIXError` when there is no port.
  init(list: String, files: [String: [UInt8]], cut: Int = .max) throws {
    self.list = Array(list.utf8)
    self.files = files
    self.cut = cut
    #if canImport(Darwin)
      descriptor = socket(AF_INET, SOCK_STREAM, 0)
    #else
      descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    #endif
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let descriptor = descriptor
    let result = withUnsafeMutablePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
        bind(descriptor, pointer, length) == 0 && listen(descriptor, 16) == 0
          && getsockname(descriptor, pointer, &length) == 0
      }
    }
    guard result else { throw POSIXError(.init(rawValue: errno) ?? .EIO) }
    port = Int(UInt16(bigEndian: address.sin_port))
    Thread.detachNewThread { [weak self] in
      while true {
        let connection = accept(descriptor, nil, nil)
        guard connection >= 0 else { return }
        self?.answer(connection)
        close(connection)
      }
    }
  }

  deinit {
    shutdown(descriptor, Int32(SHUT_RDWR))
    close(descriptor)
  }

  private func answer(_ connection: Int32) {
    guard let request = Self.request(from: connection) else { return }
    asked.withLock { $0.append(request) }
    var body = [UInt8]()
    if request.path.hasPrefix("/api/models/org/name/revision/") {
      body = list
    } else if let name = request.path.components(separatedBy: "/resolve/abc/").last,
      let content = files[name]
    {
      body = Array(content.dropFirst(request.range))
    } else {
      return Self.send(
        Array("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".utf8), connection)
    }
    let first = request.range
    let partial =
      "Content-Range: bytes \(first)-\(first + body.count - 1)/\(first + body.count)\r\n"
    let head =
      "HTTP/1.1 " + (first > 0 ? "206 Partial Content\r\n" + partial : "200 OK\r\n")
      + "Content-Length: \(body.count)\r\nConnection: close\r\n\r\n"
    Self.send(Array(head.utf8) + body.prefix(cut), connection)
  }

  private static func request(from connection: Int32) -> Request? {
    var bytes = [UInt8](repeating: 0, count: 1 << 14)
    var count = 0
    while count < bytes.count, bytes[..<count].suffix(4) != [13, 10, 13, 10] {
      let got = bytes.withUnsafeMutableBytes { buffer in
        recv(connection, buffer.baseAddress?.advanced(by: count), buffer.count - count, 0)
      }
      guard got > 0 else { return nil }
      count += got
    }
    let lines = String(decoding: bytes[..<count], as: UTF8.self).components(separatedBy: "\r\n")
    func header(_ name: String) -> String? {
      lines.first { $0.lowercased().hasPrefix(name + ": ") }.map {
        String($0.dropFirst(name.count + 2))
      }
    }
    let words = lines.first?.split(separator: " ") ?? []
    guard words.count == 3 else { return nil }
    let range = header("range")?.dropFirst("bytes=".count).dropLast()
    return Request(
      path: String(words[1].prefix { $0 != "?" }), range: range.flatMap { Int($0) } ?? 0,
      token: header("authorization"))
  }

  private static func send(_ bytes: [UInt8], _ connection: Int32) {
    var sent = 0
    while sent < bytes.count {
      let made = bytes[sent...].withUnsafeBytes { piece in
        #if canImport(Darwin)
          Darwin.send(connection, piece.baseAddress, piece.count, 0)
        #else
          Glibc.send(connection, piece.baseAddress, piece.count, Int32(MSG_NOSIGNAL))
        #endif
      }
      guard made > 0 else { return }
      sent += made
    }
  }
}
