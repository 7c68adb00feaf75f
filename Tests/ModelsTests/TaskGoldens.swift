import Models
import Tensors
import TestSupport
import Testing

/// Checks a model with the head of a task against what transformers gives for rows without padding and
/// with padding on the left: outputs and, but for features, the loss.
func expectTaskGolden(_ model: TaskModel, _ golden: [String: Tensor]) throws {
  let task = model.task
  #expect(model.newLayers.isEmpty)
  for way in ["plain", "left"] {
    let input = TaskInput(
      ids: try #require(golden["\(way).input_ids"]), mask: golden["\(way).attention_mask"],
      tokenTypes: golden["\(way).token_type_ids"])
    let expected = try #require(golden["\(way).\(task.rawValue)"])
    expectClose(model(input), expected, absolute: 1e-5)
    let asked = "\(way).\(task.rawValue)."
    let labels: TaskLabels
    if let classes = golden[asked + "labels"] {
      labels = .classes(classes)
    } else if let start = golden[asked + "start_positions"],
      let end = golden[asked + "end_positions"]
    {
      labels = .answers(start: start, end: end)
    } else {
      #expect(task == .featureExtraction)
      continue
    }
    expectClose(
      model.loss(input, labels: labels), try #require(golden[asked + "loss"]), absolute: 1e-5)
  }
}
