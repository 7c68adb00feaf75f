import CommandLineParsing
import Datasets
import Foundation
import JSONValues
import Models
import Tokenizers
import Training

/// Tokens of a text that were hidden.
struct MaskedLMTask: HeadTask {
  static let task = ModelTask.maskedLM
  static let family = RecordFormat.Family.languageModel
  static let hasLabels = false
  static let metrics = ["loss", "perplexity", "accuracy"]

  static let probability = Option<Double>(
    "mask-probability", default: 0.15, group: "Data",
    help: "Share of tokens that are hidden with --task masked-lm: 8 in 10 of them by the mask "
      + "token, 1 by any token, 1 not at all.")
  static let options: [any OptionDeclaration] = [probability]

  private let setting: TaskSetting
  private let encoder: MaskedLMEncoder
  let masking: TokenMasking?

  init(_ setting: TaskSetting, _ arguments: ParsedArguments) throws {
    self.setting = setting
    encoder = try MaskedLMEncoder(
      tokenizer: setting.tokenizer, maximumLength: setting.maximumLength)
    masking = try encoder.masking(
      probability: arguments.value(Self.probability), vocabularySize: setting.vocabularySize,
      seed: setting.seed)
  }

  static func newLabels(
    of records: [LocatedRecord], _ arguments: ParsedArguments, _ path: String
  ) throws -> ModelLabels? { nil }

  func encode(
    _ records: [LocatedRecord], file: String, isEvaluated: Bool
  ) throws -> TaskData {
    let (whole, report) = try encoder.encode(records, file: file)
    func hidden(_ number: Int) -> TokenizedExample {
      masking?.masked(whole[number], number: number, epoch: TokenMasking.evaluationEpoch)
        ?? whole[number]
    }
    // What is measured is always hidden in the same way; what is trained on anew in each epoch.
    let examples = isEvaluated ? whole.indices.map(hidden) : whole
    return TaskData(
      examples: examples, report: report,
      preview: { number in
        let first = masking?.masked(whole[number], number: number, epoch: 0) ?? whole[number]
        return ExamplePreview(first, of: records[number], setting.tokenizer, asked: { _ in nil })
      },
      measure: { model, batchSize, share in
        let found = try model.tokenAnswers(
          of: examples, batchSize: batchSize, share: share)
        let rights = examples.map(\.askedLabels)
        let count = Double(max(rights.reduce(0) { $0 + $1.count }, 1))
        let right = zip(found.answers.joined(), rights.joined()).count { $0 == $1 }
        return TaskResults(
          loss: found.loss,
          figures: [("perplexity", exp(found.loss)), ("accuracy", Double(right) / count)],
          samples: { count in
            examples.indices.prefix(count).map { number in
              func text(_ ids: [Int]) -> JSON { .string(setting.tokenizer.decode(ids)) }
              return [
                "text": text(examples[number].ids.map { Int($0) }),
                "expected": .array(rights[number].map { text([$0]) }),
                "answer": .array(found.answers[number].map { text([$0]) }),
              ]
            }
          })
      })
  }
}
