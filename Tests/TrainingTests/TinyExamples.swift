import Datasets
import Tokenizers

/// Two dozen short examples of prompts and completions, by the tokenizer of a model's directory.
func tinyExamples(_ model: String) throws -> [TokenizedExample] {
  let encoder = try ExampleEncoder(tokenizer: try Tokenizer(directory: model), maximumLength: 64)
  let rows = (0..<24).map { index in
    LocatedRecord(
      .promptCompletion(
        prompt: "item \(index)", completion: String(repeating: "xy", count: 1 + index % 4)),
      at: RecordLocation(file: "memory", line: index + 1))
  }
  return try encoder.encode(rows, file: "memory").examples
}
