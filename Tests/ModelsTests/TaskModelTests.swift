import Foundation
import Layers
import Models
import Tensors
import TestSupport
import Testing

/// What opening a model for a task promises.
@Suite struct TaskModelTests {
  private let bert = testDirectory() + "/EncoderFixtures/bert"
  private let llama = testDirectory() + "/Fixtures/llama"

  /// A copy of a fixture with other entries in its configuration.
  private func changed(
    _ fixture: String, _ change: (String) -> String, _ body: (String) throws -> Void
  ) throws {
    try withTemporaryDirectory { directory in
      let files = FileManager.default
      for name in ["config.json", "model.safetensors"] {
        try files.copyItem(atPath: "\(fixture)/\(name)", toPath: "\(directory)/\(name)")
      }
      let path = "\(directory)/config.json"
      let text = try String(contentsOfFile: path, encoding: .utf8)
      try change(text).write(toFile: path, atomically: true, encoding: .utf8)
      try body(directory)
    }
  }

  @Test func anUnknownTypeIsNamedBesideThoseThatAreKnown() throws {
    try changed(
      bert, { $0.replacing("\"model_type\": \"bert\"", with: "\"model_type\": \"elmo\"") }
    ) { directory in
      let error = #expect(throws: ModelError.self) {
        try AutoModelForMaskedLM.fromPretrained(directory)
      }
      let found = try #require(error)
      let text = "\(found)"
      #expect(text.contains("\"elmo\""))
      for type in ["bert", "distilbert", "modernbert", "roberta", "xlm-roberta"] {
        #expect(text.contains(type))
      }
    }
    // Decoders have no masked tokens.
    #expect(throws: ModelError.self) { try AutoModelForMaskedLM.fromPretrained(llama) }
  }

  @Test func aHeadThatTheCheckpointLacksIsNewAndListed() throws {
    let model = try AutoModelForSequenceClassification.fromPretrained(
      llama, labels: ModelLabels(names: ["no", "maybe", "yes"]), seed: 4)
    #expect(model.newLayers == ["score"])
    #expect(model.labels?.names == ["no", "maybe", "yes"])
    let again = try AutoModelForSequenceClassification.fromPretrained(
      llama, labels: ModelLabels(count: 3), seed: 4)
    let input = TaskInput(ids: Tensor([Int64](5..<11), shape: [2, 3]))
    expectClose(model(input), again(input), absolute: 0, relative: 0)
    let other = try AutoModelForSequenceClassification.fromPretrained(
      llama, labels: ModelLabels(count: 3), seed: 5)
    #expect(!other(input).isEqual(to: model(input)))
  }

  @Test func aHeadOfAnotherSizeIsRefused() {
    let error = #expect(throws: ModelError.self) {
      try AutoModelForSequenceClassification.fromPretrained(bert, labels: ModelLabels(count: 7))
    }
    guard case .wrongShape(_, "classifier.bias", [7], [2]) = error else {
      Issue.record("\(String(describing: error))")
      return
    }
  }

  @Test func labelsComeFromTheConfiguration() throws {
    let table = "\"id2label\": {\"1\": \"good\", \"0\": \"bad\"}, \"problem_type\": \"regression\","
    try changed(bert, { $0.replacing("\"model_type\"", with: table + "\"model_type\"") }) {
      let labels = try AutoModel.labels(of: $0)
      #expect(labels == ModelLabels(names: ["bad", "good"], problem: .regression))
    }
    try changed(
      bert, { $0.replacing("\"model_type\"", with: "\"id2label\": {\"2\": \"x\"}, \"model_type\"") }
    ) { directory in
      #expect(throws: ModelError.self) { try AutoModel.labels(of: directory) }
    }
  }

  @Test(
    arguments: [
      ("BertForMaskedLM", ModelTask.maskedLM), ("BertModel", .featureExtraction),
      ("RobertaForSequenceClassification", .sequenceClassification),
      ("DistilBertForTokenClassification", .tokenClassification),
      ("ModernBertForQuestionAnswering", .questionAnswering),
    ] as [(String, ModelTask)]) func theTaskIsThatOfTheArchitecture(
      _ name: String, _ task: ModelTask
    ) throws
  {
    try changed(bert, { $0.replacing("BertForMaskedLM", with: name) }) {
      let found = try AutoModel.task(of: $0)
      #expect(found == task)
    }
  }

  /// The vector of a decoder's row is that of its last token, wherever the padding is.
  @Test func aDecoderIsAskedAtItsLastToken() throws {
    let model = try AutoModelForSequenceClassification.fromPretrained(llama)
    let row: [Int64] = [7, 9, 30, 12]
    let padding = try #require(model.paddingID.map { Int64($0) })
    let alone = model(TaskInput(ids: Tensor(row, shape: [1, 4])))
    let right = model(
      TaskInput(
        ids: Tensor(row + [padding, padding], shape: [1, 6]),
        mask: Tensor([Int64(1), 1, 1, 1, 0, 0], shape: [1, 6])))
    expectClose(right, alone, absolute: 1e-6)
  }

  @Test func lossesAreThoseOfTheirKinds() throws {
    func loss(_ labels: ModelLabels, _ right: TaskLabels) throws -> (scores: Tensor, loss: Tensor) {
      let model = try AutoModelForSequenceClassification.fromPretrained(llama, labels: labels)
      let input = TaskInput(ids: Tensor([Int64](5..<11), shape: [2, 3]))
      return (model(input), model.loss(input, labels: right))
    }
    let numbers = Tensor([Float(0.5), -2])
    let one = try loss(ModelLabels(count: 1), .values(numbers))
    let error = one.scores.reshaped([2]) - numbers
    expectClose(one.loss, (error * error).mean(), absolute: 1e-6)

    let yes = Tensor([Float(1), 0, 0, 1, 1, 1], shape: [2, 3])
    let many = try loss(ModelLabels(count: 3), .values(yes))
    let p = many.scores.sigmoid()
    let right = yes * p.logarithm()
    let no = yes * -1.0 + 1.0
    let wrong = no * (p * -1.0 + 1.0).logarithm()
    expectClose(many.loss, (right + wrong).mean() * -1.0, absolute: 1e-6)

    let classes = try loss(ModelLabels(count: 3), .classes(Tensor([Int64(2), -100])))
    let logarithms = classes.scores.logSoftmax()
    expectClose(
      classes.loss, logarithms.selected(0, 0).selected(0, 2) * -1.0, absolute: 1e-6)
  }
}
