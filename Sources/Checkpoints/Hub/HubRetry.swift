import Foundation
import Synchronization

#if canImport(FoundationNetworking)
  import FoundationNetworking
#endif

/// Set once when what is under way has become pointless.
final class HubCancellation: Sendable {
  private let flag = Atomic(false)

  func cancel() { flag.store(true, ordering: .relaxed) }

  /// - Throws: `CancellationError` when it was set.
  func check() throws {
    if flag.load(ordering: .relaxed) { throw CancellationError() }
  }
}

/// How often and how soon a request is made again.
package struct HubRetry {
  /// Failures in a row after which it is given up.
  package static let most = 5
  private static let firstDelay = 0.5
  private static let longestDelay = 8.0
  private static let longestWish = 60.0

  package init() {}

  private(set) var failures = 0

  /// Forgets the failures, as something was won.
  package mutating func succeed() { failures = 0 }

  /// Counts a failure.
  ///
  /// - Parameter wish: Seconds that the server asks for, `Retry-After`.
  /// - Returns: Seconds to wait before the next attempt, or nil when it was the last one.
  package mutating func fail(wish: String? = nil) -> Double? {
    failures += 1
    guard failures <= Self.most else { return nil }
    let own = min(Self.longestDelay, Self.firstDelay * Double(1 << (failures - 1)))
    let wished = wish.flatMap(Double.init).map { min(max($0, 0), Self.longestWish) } ?? 0
    return max(own * Double.random(in: 0.8...1.2), wished)
  }

  /// Waits, in steps, so that a cancellation is noticed.
  static func wait(_ seconds: Double, _ cancellation: HubCancellation) throws {
    let end = Date(timeIntervalSinceNow: seconds)
    while true {
      try cancellation.check()
      let rest = end.timeIntervalSinceNow
      guard rest > 0 else { return }
      Thread.sleep(forTimeInterval: min(rest, 0.1))
    }
  }

  /// Why an exchange failed, for a message; nil for an error that is none of the network.
  static func reason(of error: any Error) -> String? {
    guard let error = error as? URLError else { return nil }
    switch error.code {
    case .timedOut: return "the server has been silent for too long"
    case .cannotFindHost, .dnsLookupFailed: return "there is no such host, or no network"
    default: return error.localizedDescription
    }
  }

  /// Whether another attempt may help: a broken connection, but no wrong certificate.
  static func isTransient(_ error: any Error) -> Bool {
    guard let error = error as? URLError else { return false }
    return !(-1206 ... -1200).contains(error.errorCode) && error.code != .unsupportedURL
      && error.code != .badURL
  }

  /// Whether there is nobody to talk to: one attempt is enough to know, two where all is silent.
  static func isAbsent(_ error: any Error, after failures: Int) -> Bool {
    guard let error = error as? URLError else { return false }
    if error.code == .timedOut { return failures > 0 }
    return [.cannotFindHost, .dnsLookupFailed, .cannotConnectToHost, .notConnectedToInternet]
      .contains(error.code)
  }
}
