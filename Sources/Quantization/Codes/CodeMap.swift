package import CKernels

/// A table of 256 ascending numbers in [-1, 1], each the meaning of one code of 8 bits.
public final class CodeMap: Sendable {
  /// The numbers by code.
  public let values: [Float]
  /// The table prepared for finding the nearest number; immutable after `init`.
  nonisolated(unsafe) package let search: UnsafeMutablePointer<graft_code_search>

  /// Makes a map.
  ///
  /// - Parameter values: 256 ascending numbers in [-1, 1]; equal neighbours are allowed, and the
  ///   first of them is the one that is used.
  /// - Precondition: The count, order and range are these.
  public init(_ values: [Float]) {
    precondition(values.count == 256, "CodeMap: \(values.count) numbers instead of 256")
    precondition(
      zip(values, values.dropFirst()).allSatisfy { $0 <= $1 } && values[0] >= -1
        && values[255] <= 1, "CodeMap: the numbers must ascend from -1 to 1")
    self.values = values
    search = .allocate(capacity: 1)
    graft_make_code_search(values, search)
  }

  deinit { search.deallocate() }

  /// The signed dynamic map: decades from 1e-6 to 1, each with twice the codes of the one below.
  ///
  /// It holds 1 but not -1. Source: Dettmers et al. 2022, arXiv 2110.02861.
  public static let dynamic: CodeMap = {
    let upper = signedDynamicMapBits.map { Float(bitPattern: $0) }
    return CodeMap(upper.dropLast().reversed().map { -$0 } + [0] + upper)
  }()

  /// The unsigned dynamic map, for numbers that are never negative.
  public static let dynamicUnsigned = CodeMap(
    [0] + unsignedDynamicMapBits.map { Float(bitPattern: $0) })

  /// Equally distant numbers from -1 to 1 with an exact 0 in the middle.
  ///
  /// 255 different ones: zero stands twice, as in bitsandbytes' `create_linear_map`.
  public static let linear = CodeMap(
    (0..<256).map { index in
      // Symmetric about the two zeros at 127 and 128.
      index < 128 ? Float(index - 127) / 127 : Float(index - 128) / 127
    })
}

extension CodeMap: Equatable {
  /// Maps are equal when their numbers are, bit for bit.
  public static func == (left: CodeMap, right: CodeMap) -> Bool {
    left === right || left.values.map(\.bitPattern) == right.values.map(\.bitPattern)
  }
}
