extension RecordLabel {
  /// The label, or those of several.
  public var singles: [RecordLabel] {
    if case .several(let labels) = self { return labels }
    return [self]
  }
}

/// The classes of a classification task, in the order of the model's outputs.
public struct LabelSet: Equatable, Sendable {
  /// The names; the position is the number of the class.
  public let names: [String]

  private let indices: [[UInt8]: Int]

  /// Makes a set from names, for example those of `id2label` in a model's configuration.
  ///
  /// - Parameter names: The names, each once.
  public init(names: [String]) {
    self.names = names
    var indices: [[UInt8]: Int] = [:]
    for (index, name) in names.enumerated() where indices[Array(name.utf8)] == nil {
      indices[Array(name.utf8)] = index
    }
    self.indices = indices
  }

  /// Collects the classes of labelled records.
  ///
  /// Names are sorted by their bytes. Where all labels are numbers, there are as many classes as
  /// the largest number says, named `LABEL_0` and so on as in transformers.
  ///
  /// - Parameter records: Records of texts with labels, or of words with labels; others are an error.
  /// - Throws: ``DatasetError`` for a record without label, for a negative or fractional number,
  ///   and for a number among names.
  public init(of records: [LocatedRecord]) throws(DatasetError) {
    var found: Set<[UInt8]> = []
    var largest = -1
    for located in records {
      let singles: [RecordLabel]
      switch located.record {
      case .labeled(_, _, let label): singles = label.singles
      case .labeledTokens(_, let labels): singles = labels
      default:
        throw .incompatibleFormat(
          at: located.location, expected: RecordFormat.textLabel.spelling,
          actual: located.record.format.spelling)
      }
      for single in singles {
        switch single {
        case .name(let name) where largest < 0:
          found.insert(Array(name.utf8))
        case .index(let index) where (0..<Self.limit).contains(index) && found.isEmpty:
          largest = max(largest, index)
        case .index, .name, .value, .several:
          let expected =
            found.isEmpty
            ? "a whole number in 0..<\(Self.limit), or names throughout" : "a name, as before"
          throw .wrongType(
            at: located.location, key: "label", expected: expected, actual: single.description)
        }
      }
    }
    if largest >= 0 {
      self.init(names: (0...largest).map { "LABEL_\($0)" })
    } else {
      let sorted = found.sorted { $0.lexicographicallyPrecedes($1) }
      self.init(names: sorted.map { String(decoding: $0, as: UTF8.self) })
    }
  }

  private static let limit = 1_000_000

  /// The number of a label's class.
  ///
  /// - Parameters:
  ///   - label: A name, or a number below the number of classes.
  ///   - place: The record's, for the error.
  /// - Returns: The number.
  /// - Throws: ``DatasetError/unknownLabel(at:label:known:)``.
  public func index(of label: RecordLabel, at place: RecordLocation) throws(DatasetError) -> Int {
    switch label {
    case .name(let name):
      if let index = indices[Array(name.utf8)] { return index }
    case .index(let index):
      if names.indices.contains(index) { return index }
    case .value, .several:
      break
    }
    throw .unknownLabel(at: place, label: label.description, known: names)
  }
}
