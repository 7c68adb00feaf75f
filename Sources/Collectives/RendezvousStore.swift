import CTorch
import Foundation

/// Keys and values that all processes of a run see: c10d's TCPStore, which is also torchrun's.
///
/// One process opens it, all others connect. Calls from several threads wait for each other; a thread
/// that must not wait opens a connection of its own.
public final class RendezvousStore: @unchecked Sendable {  // c10d guards each call by a mutex.
  let handle: ctorch_store
  /// The host that was asked for.
  public let host: String
  /// The port, also where any free one was asked for.
  public let port: Int
  /// How long a wait for a key may take.
  public let timeout: Duration

  /// Opens a store or connects to one.
  ///
  /// - Parameters:
  ///   - host: Name or address of the process that opens it.
  ///   - port: Its port; 0, with `opens`, for any that is free.
  ///   - opens: Whether this process is the one.
  ///   - timeout: How long the connection, and later each wait for a key, may take.
  /// - Throws: ``CollectiveError/rendezvous(place:reason:)`` when nobody answers or the port is taken.
  public init(
    host: String, port: Int, opens: Bool, timeout: Duration = .seconds(120)
  ) throws(CollectiveError) {
    guard (opens ? 0 : 1)...65535 ~= port else {
      throw .rendezvous(place: "\(host):\(port)", reason: "\(port) is not a port")
    }
    var made: ctorch_store?
    let status = ctorch_store_open(host, Int32(port), opens, timeout.milliseconds, &made)
    guard status == 0, let made else {
      throw .rendezvous(place: "\(host):\(port)", reason: lastCollectiveError())
    }
    handle = made
    self.host = host
    self.port = Int(ctorch_store_port(made))
    self.timeout = timeout
  }

  deinit { ctorch_store_release(handle) }

  /// Sets a key.
  ///
  /// - Parameters:
  ///   - key: The key.
  ///   - text: Its new value.
  /// - Throws: ``CollectiveError/rendezvous(place:reason:)`` when the store is gone.
  public func set(_ key: String, _ text: String) throws(CollectiveError) {
    let bytes = Array(text.utf8)
    try check(ctorch_store_set(handle, key, bytes, Int64(bytes.count)))
  }

  /// Waits for a key.
  ///
  /// - Parameter key: The key.
  /// - Returns: Its value.
  /// - Throws: ``CollectiveError/rendezvous(place:reason:)`` when it does not come in time.
  public func get(_ key: String) throws(CollectiveError) -> String {
    let received = Received()
    let status = ctorch_store_get(handle, key, Unmanaged.passUnretained(received).toOpaque()) {
      context, bytes, count in
      let received = Unmanaged<Received>.fromOpaque(context).takeUnretainedValue()
      let buffer = UnsafeRawBufferPointer(start: bytes, count: Int(count))
      received.text = String(decoding: buffer, as: UTF8.self)
    }
    try check(status)
    return received.text
  }

  /// Whether a key is set.
  ///
  /// - Parameter key: The key.
  /// - Returns: Whether somebody has set it.
  /// - Throws: ``CollectiveError/rendezvous(place:reason:)`` when the store is gone.
  public func has(_ key: String) throws(CollectiveError) -> Bool {
    var found = false
    try check(ctorch_store_has(handle, key, &found))
    return found
  }

  /// Adds to a counter, which begins at zero.
  ///
  /// - Parameters:
  ///   - amount: What to add.
  ///   - key: The counter.
  /// - Returns: The sum.
  /// - Throws: ``CollectiveError/rendezvous(place:reason:)`` when the store is gone.
  @discardableResult
  public func add(_ amount: Int, to key: String) throws(CollectiveError) -> Int {
    var sum: Int64 = 0
    try check(ctorch_store_add(handle, key, Int64(amount), &sum))
    return Int(sum)
  }

  private func check(_ status: ctorch_status) throws(CollectiveError) {
    if status != 0 { throw .rendezvous(place: "\(host):\(port)", reason: lastCollectiveError()) }
  }

  private final class Received {
    var text = ""
  }
}

/// LibTorch's words on the last failure of this thread, without its stack of frames.
func lastCollectiveError() -> String {
  let text = String(cString: ctorch_last_error())
  let first = text.split(separator: "\n").first.map(String.init) ?? text
  return first.isEmpty ? "LibTorch gives no reason" : first
}

extension Duration {
  var milliseconds: Int64 {
    components.seconds * 1000 + components.attoseconds / 1_000_000_000_000_000
  }
}
