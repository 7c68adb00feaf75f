import CommandLineParsing
import Datasets
import Foundation
import Models
import Tokenizers

/// How options say that records become examples, the same for training and for its preview.
enum DataOptions {
  /// The options that decide what becomes of a record.
  static let all: [any OptionDeclaration] = [
    TrainOptions.data, TrainOptions.promptStyle, TrainOptions.chatTemplate,
    TrainOptions.chatTemplateName, TrainOptions.trainOnPrompt, TrainOptions.maximumLength,
  ]

  static func encoder(
    _ arguments: ParsedArguments, _ tokenizer: Tokenizer, maximumLength: Int
  ) throws -> ExampleEncoder {
    try ExampleEncoder(
      tokenizer: tokenizer, maximumLength: maximumLength,
      trainsOnPrompt: arguments[TrainOptions.trainOnPrompt],
      promptStyle: try arguments.value(TrainOptions.promptStyle),
      chatTemplate: try template(arguments),
      chatTemplateName: arguments[TrainOptions.chatTemplateName])
  }

  /// The options that choose a chat template.
  static let templates: [any OptionDeclaration] = [
    TrainOptions.chatTemplate, TrainOptions.chatTemplateName,
  ]

  /// The source of the template that `--chat-template` names.
  static func template(_ arguments: ParsedArguments) throws -> String? {
    guard let path = arguments[TrainOptions.chatTemplate] else { return nil }
    guard arguments[TrainOptions.chatTemplateName] == nil else {
      throw UsageError("give one of --chat-template and --chat-template-name")
    }
    return try template(at: path)
  }

  /// What was asked for, else 1024, and never more than the model can take.
  static func maximumLength(_ arguments: ParsedArguments, limit: Int) throws -> Int {
    let wanted = arguments[TrainOptions.maximumLength] ?? min(1024, limit)
    guard wanted <= limit else {
      throw UsageError("--max-length \(wanted) is more than the model's limit of \(limit) tokens")
    }
    return wanted
  }

  /// What a model's directory is for; text where it holds a tokenizer alone.
  static func task(of directory: String) throws -> ModelTask {
    guard FileManager.default.fileExists(atPath: directory + "/config.json") else {
      return .causalLM
    }
    return try AutoModel.task(of: directory)
  }

  /// The limit of a model's directory; of one that holds a tokenizer alone, what that says.
  static func lengthLimit(of directory: String, _ tokenizer: Tokenizer) throws -> Int {
    guard FileManager.default.fileExists(atPath: directory + "/config.json") else {
      return tokenizer.modelMaximumLength ?? 1 << 20
    }
    return try AutoModelForCausalLM.configuration(of: directory).maximumLength
  }

  private static func template(at path: String) throws -> String {
    guard FileManager.default.fileExists(atPath: path) else {
      throw DatasetError.missingFile(path: path)
    }
    guard let data = FileManager.default.contents(atPath: path),
      let text = String(data: data, encoding: .utf8)
    else {
      throw DatasetError.unreadableFile(path: path, reason: "expected a chat template in UTF-8")
    }
    return text
  }
}
