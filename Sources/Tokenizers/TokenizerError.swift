public import JSONValues

/// Why a tokenizer could not be loaded or used.
public enum TokenizerError: Error, Equatable, Sendable {
  /// The directory lacks a file that a tokenizer needs.
  case missingFile(path: String)
  /// A file is no readable JSON.
  case json(JSONError)
  /// A text file is there but cannot be read.
  case unreadable(path: String, reason: String)
  /// A component of a type that is not known here.
  case unknownComponent(file: String, component: String, type: String, known: [String])
  /// A component whose fields are missing, of the wrong type or contradictory.
  case malformedComponent(file: String, component: String, problem: String)
  /// A length to which a text cannot be cut.
  case impossibleTruncation(String)
  /// A regular expression that the engine refuses.
  case invalidPattern(file: String, component: String, pattern: String, reason: String)
}

extension TokenizerError: CustomStringConvertible {
  /// What is wrong, where, and what to do.
  public var description: String {
    switch self {
    case .missingFile(let path):
      "\(path): no such file; a tokenizer directory holds tokenizer.json as Hugging Face writes it, or "
        + VocabularyFiles.all.joined(separator: ", ")
    case .json(let error):
      error.description
    case .unreadable(let path, let reason):
      "\(path): cannot be read (\(reason))"
    case .unknownComponent(let file, let component, let type, let known):
      "\(file): \(component) has the type \"\(type)\", which is not supported; "
        + "supported are \(known.joined(separator: ", "))"
    case .malformedComponent(let file, let component, let problem):
      "\(file): \(component): \(problem)"
    case .impossibleTruncation(let problem):
      "the text cannot be cut: \(problem)"
    case .invalidPattern(let file, let component, let pattern, let reason):
      "\(file): \(component): the regular expression \"\(pattern)\" is refused: \(reason)"
    }
  }
}
