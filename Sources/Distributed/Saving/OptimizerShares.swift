public import Checkpoints
import Foundation
import JSONValues
import Layers
public import Optimizers
import Tensors

/// The optimiser's state of a checkpoint that several processes shared out, a file each.
///
/// A share has the slices of its process under the names of their optimiser, `<parameter>@<first element>.<kind>`,
/// elements of the flattened parameter in row-major order, and in its metadata the shapes of the whole
/// parameters. Opening maps the files and reads their headers, which have to fit together: each element of
/// each parameter is in one share. Data are read when a state is loaded, by a process that has slices only
/// those that these need.
public struct OptimizerShares {
  /// A slice of a state, in a file.
  private struct Piece {
    let file: SafetensorsFile
    let entry: SafetensorsEntry
    /// Its place in a row of the whole: elements, or blocks of them.
    let range: Range<Int>

    /// Rows, where a state has several numbers for each element.
    var rows: Int? { entry.shape.count == 2 ? entry.shape[0] : nil }
  }

  private let directory: String
  /// Slices by the names of whole states, in the order of their elements.
  private var slices: [String: [Piece]] = [:]
  /// What all shares have alike.
  private var shared: [String: Piece] = [:]
  /// Shapes of whole parameters.
  private var shapes: [String: [Int]] = [:]

  /// Opens the shares of a checkpoint.
  ///
  /// - Parameters:
  ///   - directory: The checkpoint.
  ///   - common: Its ``OptimizerFiles/common``, which says whether there are shares; without any the
  ///     initializer gives nil.
  /// - Throws: `CheckpointError`, which names the file, when one is missing, too many, of another
  ///   checkpoint, or does not fit to the others.
  public init?(directory: String, common: SafetensorsFile) throws(CheckpointError) {
    self.directory = directory
    guard let count = try Self.count(directory, common) else { return nil }
    for rank in 0..<count {
      let file = try SafetensorsFile(
        path: "\(directory)/\(OptimizerFiles.share(rank, of: count))")
      try read(file, rank, of: count)
    }
    for name in slices.keys.sorted() {
      let ordered = (slices[name] ?? []).sorted { $0.range.lowerBound < $1.range.lowerBound }
      try check(ordered, of: name)
      slices[name] = ordered
    }
  }

  /// How many shares there are; nil for none.
  private static func count(
    _ directory: String, _ common: SafetensorsFile
  ) throws(CheckpointError) -> Int? {
    let all = (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
    let names = Set(all.filter(OptimizerFiles.isShare))
    guard let text = common.metadataValue(OptimizerFiles.sharesKey) else {
      guard let name = names.min() else { return nil }
      throw .mismatch(
        path: "\(directory)/\(name)", what: "share of the optimiser's state",
        expected: "none, as \(OptimizerFiles.common) has the whole state", actual: name)
    }
    guard let count = Int(text), count > 0 else {
      throw .mismatch(
        path: common.path, what: "metadata \(OptimizerFiles.sharesKey)",
        expected: "the number of processes", actual: text)
    }
    // Whatever the number says, no more names are made than there are files.
    if let rank = (0..<count).first(where: { !names.contains(OptimizerFiles.share($0, of: count)) })
    {
      throw .lacks(
        path: directory,
        what: "\(OptimizerFiles.share(rank, of: count)), one of the \(count) shares of the "
          + "optimiser's state that \(OptimizerFiles.common) says there are")
    }
    let own = Set((0..<count).map { OptimizerFiles.share($0, of: count) })
    guard let name = names.subtracting(own).min() else { return count }
    throw .mismatch(
      path: "\(directory)/\(name)", what: "share of the optimiser's state",
      expected: "one of \(count), as \(OptimizerFiles.common) says", actual: name)
  }

  /// Notes what a share has.
  private mutating func read(
    _ file: SafetensorsFile, _ rank: Int, of count: Int
  ) throws(CheckpointError) {
    for (key, number) in [(OptimizerFiles.shareKey, rank + 1), (OptimizerFiles.sharesKey, count)] {
      let text = file.metadataValue(key)
      guard text == "\(number)" else {
        throw .mismatch(
          path: file.path, what: "metadata \(key)", expected: "\(number)", actual: text ?? "none")
      }
    }
    try readShapes(file)
    for entry in file.entries {
      let key = StateKey(entry.name, isSliced: true)
      if key.isShared {
        let piece = Piece(file: file, entry: entry, range: 0..<0)
        try checkSame(piece, as: shared[key.wholeName])
        shared[key.wholeName] = piece
        continue
      }
      guard let start = key.start, start % key.unit == 0, 1...2 ~= entry.shape.count else {
        throw .mismatch(
          path: file.path, what: "tensor \(quoted(entry.name))",
          expected: "a slice of one or two dimensions, named by its first element",
          actual: "shape \(entry.shape)")
      }
      let first = start / key.unit
      let (end, overflow) = first.addingReportingOverflow(entry.shape[entry.shape.count - 1])
      guard !overflow else {
        throw .mismatch(
          path: file.path, what: "tensor \(quoted(entry.name))", expected: "a first element",
          actual: "\(start)")
      }
      slices[key.wholeName, default: []].append(
        Piece(file: file, entry: entry, range: first..<end))
    }
  }

  private mutating func readShapes(_ file: SafetensorsFile) throws(CheckpointError) {
    let text = file.metadataValue(OptimizerFiles.shapesKey) ?? ""
    guard let list = (try? JSON.parse(text))?.objectValue else {
      throw .lacks(path: file.path, what: "the shapes of parameters in its metadata")
    }
    for (name, value) in list {
      let shape = value.arrayValue?.compactMap(\.intValue) ?? []
      var count = 1
      for extent in shape {
        let (product, overflow) = count.multipliedReportingOverflow(by: extent)
        count = overflow || extent < 0 ? -1 : product
        if count < 0 { break }
      }
      let known = shapes[name] ?? shape
      guard shape == known, count >= 0, shape.count == value.arrayValue?.count else {
        throw .mismatch(
          path: file.path, what: "the shape of \(quoted(name))", expected: "\(known)",
          actual: value.serialized())
      }
      shapes[name] = shape
    }
  }

  /// Counts of steps and the like are the same in all shares of one checkpoint.
  private func checkSame(_ piece: Piece, as other: Piece?) throws(CheckpointError) {
    guard let other else { return }
    let (own, known) = (piece.file.bytes(of: piece.entry), other.file.bytes(of: other.entry))
    guard piece.entry.dtype == other.entry.dtype, piece.entry.shape == other.entry.shape,
      own.elementsEqual(known)
    else {
      throw .mismatch(
        path: piece.file.path, what: piece.entry.name, expected: "the same as in \(name(other))",
        actual: "another value: a share of another checkpoint")
    }
  }

  /// A piece's file without the directory.
  private func name(_ piece: Piece) -> String { lastComponent(of: piece.file.path) }

  /// Slices in their order have to be the whole.
  private func check(_ pieces: [Piece], of whole: String) throws(CheckpointError) {
    let (first, last) = (pieces[0], pieces[pieces.count - 1])
    let key = StateKey(whole, isSliced: false)
    guard let shape = shapes[key.parameter] else {
      throw .lacks(path: first.file.path, what: "the shape of \(quoted(key.parameter))")
    }
    let unit = key.unit == 1 ? "elements" : "blocks"
    var (end, before) = (0, "")
    for piece in pieces {
      guard piece.entry.dtype == first.entry.dtype, piece.rows == first.rows else {
        throw .mismatch(
          path: piece.file.path, what: piece.entry.name,
          expected: "type and rows of \(first.entry.name) in \(name(first))",
          actual: "\(piece.entry.dtype.rawValue) of shape \(piece.entry.shape)")
      }
      let start = piece.range.lowerBound
      guard start <= end else {
        throw .lacks(
          path: directory,
          what: "\(unit) \(end) to \(start - 1) of \(whole): \(name(piece)) begins behind them"
            + (before.isEmpty ? "" : ", \(before) ends before them"))
      }
      guard start == end else {
        throw .mismatch(
          path: piece.file.path, what: piece.entry.name,
          expected: "\(unit) from \(end) on, as \(before) has those before",
          actual: "\(unit) from \(start) on")
      }
      (end, before) = (piece.range.upperBound, name(piece))
    }
    let total = key.width(shape.reduce(1, *))
    guard end >= total else {
      throw .lacks(
        path: directory,
        what: "\(unit) \(end) to \(total - 1) of \(whole): \(name(last)) ends before them")
    }
    guard end == total else {
      throw .mismatch(
        path: last.file.path, what: last.entry.name, expected: "\(unit) up to \(total - 1)",
        actual: "\(unit) up to \(end - 1)")
    }
  }
}

extension OptimizerShares {
  /// Gives an optimiser its state, whole or its process's slices, however many processes wrote the shares.
  ///
  /// Data go from the mapped files into the optimiser's own tensors, piece by piece.
  ///
  /// - Parameter optimizer: A ``ShardedOptimizer``, or one that is not shared out.
  /// - Throws: `OptimizerError` when a state is missing or does not fit; nothing is changed then.
  public func load(into optimizer: any Optimizer) throws {
    let sharded = optimizer as? ShardedOptimizer
    var saved: [String: Tensor] = [:]
    var filled: [(tensor: Tensor, range: Range<Int>, pieces: [Piece])] = []
    for (name, own) in optimizer.state {
      let key = StateKey(name, isSliced: sharded != nil)
      if key.isShared {
        saved[name] = try shared[key.wholeName].map { try $0.file.tensor($0.entry) }
        continue
      }
      // Filled below, when everything fits.
      saved[name] = own
      guard own.count > 0 else { continue }
      guard let pieces = slices[key.wholeName], let shape = shapes[key.parameter] else {
        throw OptimizerError.state(name: key.wholeName, reason: "is missing")
      }
      let range = try range(of: key, in: sharded, shape)
      try check(own, key, range, pieces[0], isSlice: sharded != nil)
      let first = range.lowerBound / key.unit
      filled.append((own, first..<(first + key.width(range.count)), pieces))
    }
    try (sharded?.optimizer ?? optimizer).load(saved)
    try withoutGradients {
      for (tensor, range, pieces) in filled { try Self.fill(tensor, range, pieces) }
    }
  }

  /// Elements of a parameter of some shape that an optimiser's state is for.
  private func range(
    of key: StateKey, in sharded: ShardedOptimizer?, _ shape: [Int]
  ) throws(OptimizerError) -> Range<Int> {
    guard let sharded, let start = key.start, let slice = sharded.slice(key.parameter, start) else {
      return 0..<shape.reduce(1, *)
    }
    let own = sharded.exchange.parameters[slice.index].value.shape
    guard shape == own else {
      throw .state(name: key.wholeName, reason: "is of shape \(shape), expected \(own)")
    }
    return slice.range
  }

  private func check(
    _ own: Tensor, _ key: StateKey, _ range: Range<Int>, _ piece: Piece, isSlice: Bool
  ) throws(OptimizerError) {
    let rows = piece.rows.map { [$0] } ?? []
    let isFlat = isSlice || key.unit > 1
    let expected =
      rows + (isFlat ? [key.width(range.count)] : shapes[key.parameter] ?? [])
    guard own.shape == expected else {
      throw .state(name: key.wholeName, reason: "has shape \(expected), expected \(own.shape)")
    }
    // Codes are codes; float types are converted, as they are from a whole file.
    let dtype = piece.entry.dtype.dtype
    guard let dtype, dtype == own.dtype || dtype.isFloatingPoint && own.dtype.isFloatingPoint else {
      throw .state(
        name: key.wholeName,
        reason: "has type \(piece.entry.dtype.rawValue), expected \(own.dtype)")
    }
  }

  /// Copies what pieces have of a range of each row.
  private static func fill(
    _ tensor: Tensor, _ range: Range<Int>, _ pieces: [Piece]
  ) throws(CheckpointError) {
    // In the order of elements, whatever the strides are.
    let target = tensor.isContiguous ? tensor : Tensor.empty(tensor.shape, dtype: tensor.dtype)
    let rows = target.count / range.count
    let flat = target.detached().reshaped([rows, range.count])
    for piece in pieces where piece.range.overlaps(range) {
      let common = piece.range.clamped(to: range)
      func within(_ outer: Range<Int>) -> Range<Int> {
        (common.lowerBound - outer.lowerBound)..<(common.upperBound - outer.lowerBound)
      }
      let source = try piece.file.tensor(piece.entry).reshaped([rows, piece.range.count])
      flat.narrowed(1, within(range)).copyInPlace(from: source.narrowed(1, within(piece.range)))
    }
    if target !== tensor { tensor.copyInPlace(from: target) }
  }
}
