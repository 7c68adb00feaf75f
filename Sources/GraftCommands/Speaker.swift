import Adapters
import CommandLineParsing
import Foundation
import JSONValues
import Models
import Tokenizers

/// A model in a conversation.
final class Speaker {
  private let model: DecoderForCausalLM
  private var peft: PeftModel<DecoderForCausalLM>?
  private let tokenizer: Tokenizer
  private let template: ChatTemplate
  private let configuration: GenerationConfiguration
  private let stops: [String]
  private let prefix = PrefixCache()
  /// Answers so far, so that each is drawn from a random sequence of its own.
  private var answerCount = 0
  private var messages: [(role: String, text: String)] = []
  /// What stands before the conversation; nil for nothing.
  var systemPrompt: String?

  init(
    _ model: DecoderForCausalLM, _ tokenizer: Tokenizer, _ template: ChatTemplate,
    _ configuration: GenerationConfiguration, stops: [String]
  ) {
    self.model = model
    self.tokenizer = tokenizer
    self.template = template
    self.configuration = configuration
    self.stops = stops
  }

  /// Adapters that are there.
  var adapters: [String] { peft?.configurations.map(\.name) ?? [] }

  /// Loads an adapter, which does not act yet.
  func load(_ directory: String, name: String) throws {
    if let peft {
      try peft.loadAdapter(directory, name: name)
    } else {
      peft = try PeftModel.fromPretrained(model, directory, adapterName: name)
      try peft?.setAdapter([])
    }
  }

  /// Lets an adapter act; nil for none.
  func use(_ name: String?) throws {
    try peft?.setAdapter(name.map { [$0] } ?? [])
    // Keys and values are those of other weights.
    prefix.reset()
  }

  /// Answers a message, piece by piece.
  func answer(_ message: String, _ write: (String) -> Void) throws {
    messages.append(("user", message.hasPrefix("//") ? String(message.dropFirst()) : message))
    do {
      try answer(write)
    } catch {
      messages.removeLast()
      throw error
    }
  }

  private func answer(_ write: (String) -> Void) throws {
    let ids = try fittingPrompt()
    var decoder = tokenizer.streamingDecoder(skipSpecialTokens: true)
    var trimmer = StopTrimmer(stops)
    var answer = ""
    func put(_ piece: String) {
      answer += piece
      if !piece.isEmpty { write(piece) }
    }
    let generation = TextGeneration(
      configuration, stopStrings: SamplingOptions.stopStrings(configuration, tokenizer),
      firstRow: answerCount)
    _ = try model.generate([ids], generation, prefix: prefix) { _, token in
      put(trimmer.append(decoder.append(token)))
      return true
    }
    put(trimmer.append(decoder.finish()) + trimmer.finish())
    answerCount += 1
    messages.append(("assistant", answer))
  }

  /// The conversation as ids, without its oldest messages where there are too many.
  private func fittingPrompt() throws -> [Int] {
    let limit = model.configuration.maximumLength - (model.prompt?.length ?? 0)
    let wanted = min(configuration.maximumNewTokens ?? 1, limit / 4)
    while true {
      let ids = try tokenizer.encode(rendered(), addSpecialTokens: false)
      if ids.count + wanted <= limit || messages.count <= 1 { return ids }
      messages.removeFirst(min(2, messages.count - 1))
    }
  }

  private func rendered() throws -> String {
    let all = (systemPrompt.map { [(role: "system", text: $0)] } ?? []) + messages
    return try template.render(
      messages: all.map { ["role": .string($0.role), "content": .string($0.text)] },
      addGenerationPrompt: true,
      specialTokens: tokenizer.specialTokens.map { (name: $0.name, value: $0.token) })
  }

  /// Does what is asked of the program.
  ///
  /// - Returns: What to tell.
  func follow(_ order: ChatOrder) throws -> String {
    switch order {
    case .exit, .again: return ""
    case .help: return ChatOrder.instructions
    case .reset:
      messages = []
      return "The conversation begins anew."
    case .history:
      return messages.isEmpty
        ? "Nothing was said." : messages.map { "\($0.role): \($0.text)" }.joined(separator: "\n")
    case .system(let text):
      messages = []
      systemPrompt = text.isEmpty ? nil : text
      return text.isEmpty ? "Nothing stands before the conversation." : "The system prompt is set."
    case .adapters:
      let acting = peft?.context.active ?? []
      return adapters.isEmpty
        ? "No adapter is loaded."
        : adapters.map { $0 + (acting.contains($0) ? " (acts)" : "") }.joined(separator: "\n")
    case .adapter(nil):
      try use(nil)
      return "The model answers alone."
    case .adapter(let text?):
      let (name, directory) = ChatCommand.named(text)
      if !adapters.contains(text), FileManager.default.fileExists(atPath: directory) {
        if !adapters.contains(name) { try load(directory, name: name) }
        try use(name)
        return "\(name) acts."
      }
      guard adapters.contains(text) else {
        let near = nearestName(text, among: adapters).map { "; did you mean \($0)?" } ?? ""
        throw UsageError("there is no adapter and no directory \(text)\(near)")
      }
      try use(text)
      return "\(text) acts."
    case .unknown(let word):
      let near = nearestName(word, among: ChatOrder.names).map { "; did you mean \($0)?" } ?? ""
      throw UsageError("\(word) is nothing that can be said here\(near) (/help)")
    }
  }

  /// Takes the last answer back and gives another one.
  func answerAgain(_ write: (String) -> Void) throws {
    guard messages.last?.role == "assistant" else { throw UsageError("there is no answer yet") }
    let last = messages.removeLast()
    do {
      try answer(write)
    } catch {
      messages.append(last)
      throw error
    }
  }
}
