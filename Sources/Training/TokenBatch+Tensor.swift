import Datasets
import Models
import Tensors

extension TokenBatch {
  /// The batch as a decoder's input.
  ///
  /// Padding is on the right, where a causal model's other outputs do not see it, so that no mask is
  /// needed.
  func input(on device: Device) -> DecoderInput {
    func tensor(_ values: [Int32]) -> Tensor {
      Tensor(values, shape: [rowCount, length]).to(.int64).to(device: device)
    }
    return DecoderInput(
      ids: tensor(ids), positions: positions.map(tensor), sequenceIDs: sequenceIDs.map(tensor),
      taskIDs: tasks.map { Tensor($0, shape: [rowCount]).to(device: device) },
      rowLengths: rowLengths)
  }

  /// Labels as a tensor.
  func labelTensor(on device: Device) -> Tensor {
    Tensor(labels, shape: [rowCount, length]).to(.int64).to(device: device)
  }
}
