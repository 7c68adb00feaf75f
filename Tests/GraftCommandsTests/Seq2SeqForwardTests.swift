import Checkpoints
import Foundation
import JSONValues
import Tensors
import TestSupport
import Testing

/// `graft forward` of models with encoder and decoder: what it writes, and what it says to bad input.
@Suite struct Seq2SeqForwardTests {
  private let models = testDirectory() + "/../ModelsTests/EncoderDecoderFixtures/"
  private let adapters = testDirectory() + "/../AdaptersTests/EncoderDecoderFixtures/"

  private func arguments(_ model: String, _ more: [String] = []) -> [String] {
    [
      "forward", "--model", models + model, "--input", "in.safetensors", "--output",
      "out.safetensors",
    ] + more
  }

  private func expected(_ path: String) throws -> [String: Tensor] {
    let file = try SafetensorsFile(path: path + "/expected.safetensors")
    return Dictionary(
      uniqueKeysWithValues: try file.entries.map { ($0.name, try file.tensor($0).cloned()) })
  }

  @Test(arguments: ["t5-text", "bart-text", "t5-prompt-text"]) func lossLogitsAndGradients(
    _ name: String
  ) throws {
    try CommandFixture.with { fixture in
      let golden = try expected(adapters + name)
      let config = try JSON.read(path: "\(adapters)\(name)/adapter_config.json")
      let base = try #require(config["base_model_name_or_path"]?.stringValue)
      let names = ["input_ids", "attention_mask", "labels"]
      try SafetensorsWriter.save(
        fixture.path("in.safetensors"),
        tensors: names.compactMap { key in golden[key].map { (name: key, tensor: $0) } })
      // The adapter's file says the task, and so does the model's.
      let made = try GraftProcess.run(
        arguments(base, ["--adapter", adapters + name, "--gradients", "--json"]),
        directory: fixture.directory)
      try #require(made.code == 0, "\(made.errors)")
      let file = try SafetensorsFile(path: fixture.path("out.safetensors"))
      let gradients = Set(golden.keys.filter { $0.hasPrefix("grad.") })
      #expect(Set(file.entries.map(\.name)) == gradients.union(["logits", "loss"]))
      for (key, other) in [("logits", "outputs"), ("loss", "loss")] + gradients.map({ ($0, $0) }) {
        let found = try file.tensor(try #require(file[key]))
        expectClose(found, try #require(golden[other]), absolute: 1e-5, relative: 1e-4)
      }
      let plain = try GraftProcess.run(arguments(base), directory: fixture.directory)
      #expect(plain.code == 0, "\(plain.errors)")
    }
  }

  @Test func inputsThatDoNotFit() throws {
    try CommandFixture.with { fixture in
      func failure(
        _ mentions: [String], _ tensors: [(name: String, tensor: Tensor)], model: String = "t5",
        _ more: [String] = [], code: Int32 = 65
      ) throws {
        try SafetensorsWriter.save(fixture.path("in.safetensors"), tensors: tensors)
        try fixture.expectFailure(code, naming: mentions, arguments(model, more))
      }
      let ids = Tensor([5, 6, 1], shape: [1, 3])
      let answer = Tensor([7, 8], shape: [1, 2])
      try failure(["in.safetensors", "input_ids"], [("labels", answer)])
      try failure(["decoder_input_ids or labels"], [("input_ids", ids)])
      try failure(
        ["labels", "48"], [("input_ids", ids), ("labels", Tensor([48], shape: [1, 1]))])
      try failure(
        ["decoder_input_ids", "-1"],
        [("input_ids", ids), ("decoder_input_ids", Tensor([-1], shape: [1, 1]))])
      try failure(
        ["shape of labels", "[1, 3]"],
        [("input_ids", ids), ("decoder_input_ids", ids), ("labels", answer)])
      try failure(
        ["shape of decoder_attention_mask"],
        [("input_ids", ids), ("labels", answer), ("decoder_attention_mask", ids)])
      try failure(
        ["25", "24"],
        [
          ("input_ids", Tensor([Int](repeating: 5, count: 25), shape: [1, 25])), ("labels", answer),
        ],
        model: "bart")
      try failure(
        ["ends a text", "(1)"], [("input_ids", answer)],
        ["--task", "sequence-classification"])
      try failure(
        ["decoder_input_ids", "token-classification"],
        [("input_ids", ids), ("decoder_input_ids", ids)], ["--task", "token-classification"],
        code: 64)
      try failure(
        ["\"bart\" is not supported", "mt5"], [("input_ids", ids)], model: "bart",
        ["--task", "token-classification"])
      try failure(
        ["\"llama\" is not supported", "bart, mt5, t5"], [("input_ids", ids), ("labels", answer)],
        model: "../Fixtures/llama", ["--task", "seq2seq-lm"])
      try failure(
        ["\"t5\" is not supported", "llama"], [("input_ids", ids)], ["--task", "causal-lm"])
    }
  }
}
