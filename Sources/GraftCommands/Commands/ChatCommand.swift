import Adapters
import CommandLineParsing
import Foundation
import Models
import Tokenizers

/// `graft chat`: a conversation in the terminal, or with what a pipe sends, a line a message.
enum ChatCommand: Verb {
  static let adapter = Option<String>(
    "adapter", default: nil, group: "Model",
    help: "Adapter directory, or NAME=DIRECTORY; may be given more than once. The first one acts.",
    isRepeated: true)
  static let system = Option<String>(
    "system-prompt", default: nil, help: "What stands before the conversation.")

  static let specification = CommandSpecification(
    name: "chat", summary: "Talk with a model, with or without adapters",
    options: [system] + DataOptions.templates + SamplingOptions.all + [ModelOptions.model, adapter]
      + ModelOptions.opening)

  static func run(_ arguments: ParsedArguments, _ console: Console) throws -> ExitCode {
    try arguments.require(ModelOptions.model)
    let source = try ModelSource(arguments)
    guard try !source.isSeq2Seq else {
      throw UsageError(
        "\(source.directory) reads one text and writes another: it cannot hold a conversation; use "
          + "generate --prompt")
    }
    let tokenizer = try source.tokenizer()
    let templates = try ChatTemplates(
      of: tokenizer, replacement: try DataOptions.template(arguments),
      name: arguments[TrainOptions.chatTemplateName])
    guard let template = templates.standard else {
      throw UsageError(
        "\(source.directory): chat needs a chat template, or generate --prompt: \(templates.absence)"
      )
    }
    let configuration = try SamplingOptions.configuration(
      arguments, source.directory, tokenizer, console)
    guard configuration.beamCount == 1, configuration.returnCount == 1 else {
      throw UsageError("chat writes one answer as it comes: no --num-beams, no sequences")
    }
    let speaker = Speaker(
      try source.model(), tokenizer, template, configuration,
      stops: arguments[SamplingOptions.trimStop] ? configuration.stopStrings : [])
    for text in arguments.values(adapter) {
      let (name, directory) = named(text)
      try speaker.load(directory, name: name)
    }
    if let first = speaker.adapters.first { try speaker.use(first) }
    speaker.systemPrompt = arguments[system]
    return try converse(speaker, console)
  }

  /// NAME=DIRECTORY, or a directory whose last part is the name.
  static func named(_ text: String) -> (name: String, directory: String) {
    if let equals = text.firstIndex(of: "="), !text[..<equals].contains("/"),
      equals > text.startIndex
    {
      return (String(text[..<equals]), String(text[text.index(after: equals)...]))
    }
    let name = URL(fileURLWithPath: text).lastPathComponent
    return (name.replacing(".", with: "-"), text)
  }

  private static func converse(_ speaker: Speaker, _ console: Console) throws -> ExitCode {
    let asks = isatty(0) != 0 && console.isTerminal
    if asks { console.log("/help lists what can be said besides messages; /exit ends.") }
    while true {
      if asks { console.prompt("> ") }
      guard var line = readLine() else { break }
      // A line that ends with a backslash goes on.
      while line.hasSuffix("\\"), let more = readLine() {
        line = String(line.dropLast()) + "\n" + more
      }
      let message = line.trimmingCharacters(in: .whitespacesAndNewlines)
      if message.isEmpty { continue }
      do {
        switch ChatOrder(message) {
        case .exit: return .done
        case .again:
          try speaker.answerAgain { console.write($0) }
          console.write("\n")
        case let order?: console.log(try speaker.follow(order))
        case nil:
          try speaker.answer(message) { console.write($0) }
          console.write("\n")
        }
      } catch  where asks || error is UsageError || error is AdapterError {
        // Somebody who talks can say it in another way.
        console.log("graft: \(error)")
      }
    }
    return .done
  }
}

/// What can be said to the program and not to the model.
enum ChatOrder: Equatable {
  case exit
  case help
  case reset
  case history
  case system(String)
  case adapters
  /// Lets an adapter act, one that is there or a directory; nil for none.
  case adapter(String?)
  /// The last answer once more.
  case again
  case unknown(String)

  /// Reads a line that begins with a stroke; two strokes begin a message with one.
  init?(_ line: String) {
    guard line.hasPrefix("/"), !line.hasPrefix("//") else { return nil }
    let parts = line.dropFirst().split(separator: " ", maxSplits: 1).map(String.init)
    let rest = parts.count > 1 ? parts[1].trimmingCharacters(in: .whitespaces) : ""
    switch parts.first {
    case "exit", "quit": self = .exit
    case "help": self = .help
    case "reset": self = .reset
    case "history": self = .history
    case "system": self = .system(rest)
    case "adapters": self = .adapters
    case "adapter" where rest.isEmpty: self = .adapters
    case "adapter": self = .adapter(rest == "none" ? nil : rest)
    case "again": self = .again
    default: self = .unknown("/" + (parts.first ?? ""))
    }
  }

  static let instructions = """
    /adapter NAME   let an adapter act: one of /adapters, a directory, or none
    /adapters       adapters that are loaded
    /again          another answer to the last message
    /history        the conversation
    /reset          begin anew
    /system TEXT    what stands before the conversation, which begins anew
    /exit           end
    A line that ends with \\ goes on in the next one; // begins a message with a stroke.
    """
  static let names = [
    "/adapter", "/adapters", "/again", "/history", "/reset", "/system", "/exit", "/help", "/quit",
  ]
}
