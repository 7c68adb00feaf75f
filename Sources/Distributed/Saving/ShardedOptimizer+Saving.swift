import Checkpoints
import Collectives
import Foundation
import JSONValues
import Layers
import Tensors

/// Checkpoints with a share of the state for each process.
extension ShardedOptimizer {
  /// Writes a directory in which each process writes its own share of the state, at the same time.
  ///
  /// Nothing of the state travels to processes that see rank 0's directory. A share of one that does not,
  /// on a machine without that disk, is sent to rank 0, which writes it tensor by tensor.
  ///
  /// - Parameters:
  ///   - path: The directory as this process would open it; one that is there is replaced when the new one is
  ///     whole.
  ///   - rest: Writes everything else into a directory; called on rank 0. ``OptimizerFiles/common`` has to
  ///     be there, with ``OptimizerFiles/commonMetadata(shares:)``.
  /// - Throws: What `rest` throws, or `CheckpointError` where this process cannot write; `CollectiveError`
  ///   where another one cannot, or is gone. A directory that was there is untouched then.
  public func save(_ path: String, rest: (_ directory: String) throws -> Void) throws {
    let group = exchange.group
    let output = try SharedDirectory(path, in: group)
    let sees = try output.write { directory in
      if group.rank == 0 { try rest(directory) }
      try writeShare(to: directory)
    }
    var trouble: (any Error)?
    for rank in sees.indices where !sees[rank] {
      let found = try forwardShare(of: rank, to: output.temporaryPath)
      trouble = trouble ?? found
    }
    try output.commit(after: trouble)
  }

  /// Writes and flushes this process's share.
  private func writeShare(to directory: String) throws(CheckpointError) {
    let group = exchange.group
    try SafetensorsWriter.save(
      "\(directory)/\(OptimizerFiles.share(group.rank, of: group.size))", tensors: state,
      metadata: shareMetadata)
  }

  private var shareMetadata: [(key: String, value: String)] {
    var shapes = JSONObject()
    for slice in slices {
      let shape = exchange.parameters[slice.index].value.shape
      shapes[names[slice.index]] = .array(shape.map(JSON.integer))
    }
    return [
      ("format", "pt"), (OptimizerFiles.shareKey, "\(exchange.group.rank + 1)"),
      (OptimizerFiles.sharesKey, "\(exchange.group.size)"),
      (OptimizerFiles.shapesKey, JSON.object(shapes).serialized(separators: (",", ":"))),
    ]
  }

  /// Sends the share of a process, tensor by tensor, to rank 0, which writes it.
  ///
  /// - Returns: On rank 0 what went wrong with the file; the tensors are sent all the same, as the other
  ///   processes expect that.
  private func forwardShare(
    of source: Int, to directory: String?
  ) throws(CollectiveError) -> (any Error)? {
    let group = exchange.group
    let isSource = group.rank == source
    let own = isSource ? state : []
    let text = try group.allGather(
      isSource ? ShareDescription(own, metadata: shareMetadata).text : "", "description of a share")
    guard let share = ShareDescription(text: text[source]) else {
      throw .peer(reason: "rank \(source) does not describe its share: \(text[source])", states: [])
    }
    var trouble: (any Error)?
    var writer: SafetensorsWriter?
    func attempt(_ body: () throws -> Void) {
      guard group.rank == 0, trouble == nil else { return }
      do { try body() } catch { trouble = error }
    }
    attempt {
      writer = try SafetensorsWriter(
        path: "\(directory ?? "")/\(OptimizerFiles.share(source, of: group.size))",
        tensors: share.tensors, metadata: share.metadata)
    }
    for tensor in share.tensors {
      guard let dtype = tensor.dtype.dtype else { continue }
      let found = own.first { $0.name == tensor.name }?.tensor.detached().contiguous()
      let value = found ?? .empty(tensor.shape, dtype: dtype)
      guard value.count > 0 else { continue }
      try group.broadcast(value, from: source, "state of rank \(source)")
      attempt { try value.withUnsafeBytes { bytes throws in try writer?.write(bytes) } }
    }
    attempt { try writer?.commit() }
    return trouble
  }
}

/// What a file says of its tensors, as a text for other processes.
private struct ShareDescription {
  /// In the order in which their data stand in the file.
  var tensors: [SafetensorsWriter.Tensor]
  var metadata: [(key: String, value: String)]

  init(_ state: [(name: String, tensor: Tensor)], metadata: [(key: String, value: String)]) {
    tensors = state.compactMap { name, tensor in
      SafetensorsDType(tensor.dtype).map { .init(name: name, dtype: $0, shape: tensor.shape) }
    }
    self.metadata = metadata
    if let layout = try? SafetensorsLayout(path: "", tensors: tensors, metadata: metadata) {
      tensors = layout.entries.map { .init(name: $0.name, dtype: $0.dtype, shape: $0.shape) }
    }
  }

  var text: String {
    let lines = tensors.map { tensor -> JSON in
      [
        .string(tensor.name), .string(tensor.dtype.rawValue),
        .array(tensor.shape.map(JSON.integer)),
      ]
    }
    let pairs = metadata.map { JSON.array([.string($0.key), .string($0.value)]) }
    return JSON.object(JSONObject([("tensors", .array(lines)), ("metadata", .array(pairs))]))
      .serialized()
  }

  init?(text: String) {
    guard let json = try? JSON.parse(text), let lines = json["tensors"]?.arrayValue,
      let pairs = json["metadata"]?.arrayValue
    else { return nil }
    (tensors, metadata) = ([], [])
    for line in lines {
      guard let fields = line.arrayValue, fields.count == 3, let name = fields[0].stringValue,
        let dtype = fields[1].stringValue.flatMap(SafetensorsDType.init(rawValue:)),
        let shape = fields[2].arrayValue
      else { return nil }
      tensors.append(.init(name: name, dtype: dtype, shape: shape.compactMap(\.intValue)))
    }
    for pair in pairs {
      guard let fields = pair.arrayValue?.compactMap(\.stringValue), fields.count == 2 else {
        return nil
      }
      metadata.append((fields[0], fields[1]))
    }
  }
}
