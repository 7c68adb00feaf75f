import Checkpoints
import Layers
import Models
import Tensors

/// The tensors of an input file of `graft forward`, with errors that name the file and the tensor.
struct InputTensors {
  let file: SafetensorsFile
  /// Where they are put.
  let device: Device

  /// Whole numbers of a name.
  ///
  /// - Parameters:
  ///   - name: The tensor's.
  ///   - shape: What its shape has to be; nil for any.
  /// - Returns: int64, or nil where the file has no such tensor.
  /// - Throws: `CheckpointError` for another type or shape.
  func whole(_ name: String, shape: [Int]? = nil) throws -> Tensor? {
    guard let entry = file[name] else { return nil }
    let found = try file.tensor(entry)
    guard !found.dtype.isFloatingPoint, found.dtype != .bool else {
      throw wrong("type of \(name)", "whole numbers (I64)", entry.dtype.rawValue)
    }
    if let shape, found.shape != shape {
      throw wrong("shape of \(name)", "\(shape)", "\(found.shape)")
    }
    return found.to(.int64).to(device: device)
  }

  /// Rows of ids that a model takes.
  ///
  /// - Parameters:
  ///   - name: The tensor's.
  ///   - check: What throws for a row that does not fit.
  /// - Returns: int64 `[batch, length]`, or nil where the file has no such tensor.
  /// - Throws: `CheckpointError` for another type or shape, `ModelError` for a row that does not fit.
  func rows(_ name: String, check: (_ ids: [Int]) throws -> Void) throws -> Tensor? {
    guard let ids = try whole(name) else { return nil }
    guard ids.rank == 2, ids.count > 0 else {
      throw wrong("shape of \(name)", "[batch, length]", "\(ids.shape)")
    }
    do {
      for row in 0..<ids.size(0) { try check(ids.selected(0, row).array(of: Int.self)) }
    } catch {
      throw ModelError.input("\(file.path): \(name): \(error)")
    }
    return ids
  }

  /// A mask, where it hides something.
  ///
  /// - Parameters:
  ///   - name: The tensor's.
  ///   - shape: The shape of what it masks.
  /// - Returns: int64, or nil where there is none or nothing is hidden.
  /// - Throws: `CheckpointError` for another type or shape.
  func mask(_ name: String, shape: [Int]) throws -> Tensor? {
    guard let mask = try whole(name, shape: shape) else { return nil }
    return (mask .== 0).sum().item() > 0 ? mask : nil
  }

  /// The error of a tensor that is not as expected.
  func wrong(_ what: String, _ expected: String, _ actual: String) -> CheckpointError {
    .mismatch(path: file.path, what: what, expected: expected, actual: actual)
  }
}
