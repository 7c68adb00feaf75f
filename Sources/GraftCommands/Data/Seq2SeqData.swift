import CommandLineParsing
import Datasets
import Foundation
import Models
import Tokenizers

/// How options say that pairs of texts become examples, the same for training and for its preview.
enum Seq2SeqData {
  static let maximumTargetLength = Option<Int>(
    "max-target-length", default: nil, group: "Data",
    help: "With --task seq2seq-lm: most tokens of what is written; default as --max-length.")

  /// The encoder that options ask for.
  ///
  /// - Parameters:
  ///   - arguments: The options.
  ///   - tokenizer: The model's.
  ///   - limit: Most tokens that the model can take on either side; nil for any number.
  /// - Returns: The encoder, and most tokens of what is read and of what is written.
  /// - Throws: `UsageError` for an option that pairs of texts have no use for, or a length that the
  ///   model cannot take.
  static func encoder(
    _ arguments: ParsedArguments, _ tokenizer: Tokenizer, limit: Int?
  ) throws -> (encoder: Seq2SeqEncoder, length: Int, targetLength: Int) {
    // A recipe says every option; only what asks for something counts.
    let conversational: [(name: String, isAsked: Bool)] = [
      ("prompt-style", arguments[TrainOptions.promptStyle] == .chat),
      ("chat-template", arguments[TrainOptions.chatTemplate] != nil),
      ("train-on-prompt", arguments[TrainOptions.trainOnPrompt]),
    ]
    if let name = conversational.first(where: \.isAsked)?.name {
      throw UsageError(
        "--\(name): --task \(ModelTask.seq2seqLM.rawValue) reads one text and writes another; it has "
          + "no conversations and no prompts to count")
    }
    let length = try DataOptions.maximumLength(arguments, limit: limit ?? .max)
    let written = arguments[maximumTargetLength] ?? length
    guard written <= limit ?? .max else {
      throw UsageError(
        "--max-target-length \(written) is more than the model's limit of \(limit ?? 0) tokens")
    }
    let encoder = try Seq2SeqEncoder(
      tokenizer: tokenizer, maximumLength: length, maximumTargetLength: written)
    return (encoder, length, written)
  }

  /// Most tokens that a model's directory allows on either side; nil for any number, as for one that
  /// holds a tokenizer alone.
  static func lengthLimit(of directory: String) throws -> Int? {
    guard FileManager.default.fileExists(atPath: directory + "/config.json") else { return nil }
    return try AutoModelForSeq2SeqLM.configuration(of: directory).maximumLength
  }

  /// Whether data are for a model that reads one text and writes another: by `--task`, else by the
  /// model, else, where the directory holds a tokenizer alone, by the first record.
  static func isMeant(
    _ arguments: ParsedArguments, _ directory: String, data: String
  ) throws -> Bool {
    if let task = arguments[TaskOptions.task] { return task == .seq2seqLM }
    if FileManager.default.fileExists(atPath: directory + "/config.json") {
      return try AutoModel.task(of: directory) == .seq2seqLM
    }
    var reader = try RecordReader(path: data, allowsPromptOnly: true)
    _ = try reader.next()
    return reader.family == .sequenceToSequence
  }
}
