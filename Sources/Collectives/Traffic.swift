/// Bytes that a process sent, by kind of operation and by what they were for.
///
/// Counted are the bytes of the tensors as an optimal algorithm sends them, not those of headers nor
/// of the comparison before each operation: with N processes and a tensor of B bytes, all-reduce
/// 2 B (N - 1) / N, all-gather of parts of B bytes B (N - 1), reduce-scatter and all-to-all B (N - 1) / N,
/// broadcast B.
public struct Traffic: Equatable, Sendable {
  /// Bytes by operation.
  public private(set) var bytes: [String: Int] = [:]
  /// Operations by kind.
  public private(set) var calls: [String: Int] = [:]

  /// Bytes by the first word of the operations' labels.
  public private(set) var purposes: [String: Int] = [:]

  /// Bytes of all operations.
  public var total: Int { bytes.values.reduce(0, +) }

  mutating func add(operation: String, for label: String, bytes added: Int) {
    bytes[operation, default: 0] += added
    purposes[label.prefix { $0 != " " }.description, default: 0] += added
    calls[operation, default: 0] += 1
  }
}
