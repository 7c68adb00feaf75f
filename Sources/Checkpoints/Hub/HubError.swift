/// What went wrong between here and the hub.
public enum HubError: Error, Equatable, Sendable {
  /// A text that is no name of a model.
  case name(String)
  /// `HF_ENDPOINT` is no address.
  case endpoint(String)
  /// A token that cannot be sent.
  case token(source: String)
  /// Nothing may be fetched, and the cache has not all that is needed.
  case offline(model: String, cache: String, lacking: String)
  /// No answer came, or too little of it.
  case unreachable(url: String, reason: String)
  /// The server did not let us in (401 or 403); `message` is its own.
  case refused(model: String, status: Int, isGated: Bool, hasToken: Bool, message: String)
  /// There is no such model, or none that can be seen without the right token.
  case notFound(model: String, endpoint: String, hasToken: Bool)
  /// The model has no such revision.
  case noRevision(model: String, revision: String)
  /// The server's answer makes no sense.
  case answer(url: String, reason: String)
  /// What arrived is not what was announced.
  case mismatch(file: String, what: String, expected: String, actual: String)
  /// The weights are there in formats only that run code when they are opened.
  case onlyPickle(model: String, files: [String])
  /// There is nothing that can be used.
  case lacks(model: String, what: String, found: [String])
  /// libcrypto does not offer a checksum.
  case noDigest(String)
}

extension HubError {
  /// What the caller can do about this error, in the groups of the other files' errors.
  public var kind: CheckpointError.Kind {
    switch self {
    case .name, .endpoint, .token, .noDigest: .misuse
    case .offline, .unreachable, .refused, .notFound, .noRevision: .inputMissing
    case .answer, .mismatch, .onlyPickle, .lacks: .badData
    }
  }

  /// Whether the caller named something wrongly.
  public var isUsage: Bool {
    switch self {
    case .name, .endpoint, .token: true
    default: false
    }
  }
}

extension HubError: CustomStringConvertible {
  /// What is wrong where, and what to do about it.
  public var description: String {
    switch self {
    case .name(let text):
      "\(quoted(text)) is no model of the hub: expected ORG/NAME or NAME, and perhaps @REVISION"
    case .endpoint(let text):
      "HF_ENDPOINT is \(quoted(text)), expected an address such as https://huggingface.co"
    case .token(let source):
      "\(source): the token holds characters that cannot be sent; copy it anew"
    case .offline(let model, let cache, let lacking):
      "\(model): \(lacking) in \(cache), and nothing may be fetched, as HF_HUB_OFFLINE or "
        + "TRANSFORMERS_OFFLINE is set"
    case .unreachable(let url, let reason):
      "\(url): cannot be fetched: \(reason)"
    case .refused(let model, let status, let isGated, let hasToken, let message):
      Self.refusal(model, status, isGated, hasToken) + (message.isEmpty ? "" : " (\(message))")
    case .notFound(let model, let endpoint, let hasToken):
      "\(model): \(endpoint) has no such model, or "
        + (hasToken ? "the token does not let you see it" : "it is private: \(Self.howToLogIn)")
    case .noRevision(let model, let revision):
      "\(model): has no branch, tag or commit \(quoted(revision))"
    case .answer(let url, let reason): "\(url): \(reason)"
    case .mismatch(let file, let what, let expected, let actual):
      "\(file): \(what): expected \(expected), found \(actual); the download was thrown away"
    case .onlyPickle(let model, let files):
      Self.pickle(model, files)
    case .lacks(let model, let what, let found):
      "\(model): has no \(what)" + (found.isEmpty ? "" : "; it has \(Self.list(found))")
    case .noDigest(let name): "libcrypto does not offer \(name)"
    }
  }

  private static let howToLogIn =
    "set HF_TOKEN, or write a token of https://huggingface.co/settings/tokens into "
    + "~/.cache/huggingface/token"

  private static func refusal(
    _ model: String, _ status: Int, _ isGated: Bool, _ hasToken: Bool
  ) -> String {
    if isGated {
      return "\(model): is gated (\(status)): ask for access on the model's page"
        + (hasToken ? "; the token's user has none" : ", then \(howToLogIn)")
    }
    return hasToken
      ? "\(model): the server refuses the token (\(status)): it is wrong, has expired, or does not "
        + "cover this model"
      : "\(model): the server wants a token (\(status)), or there is no such model: \(howToLogIn)"
  }

  private static func pickle(_ model: String, _ files: [String]) -> String {
    """
    \(model): refused: its weights are pickles only (\(list(files))). Opening a pickle runs whatever \
    code it holds, so Graft reads safetensors only. If you trust them, convert them once: \
    https://huggingface.co/spaces/safetensors/convert opens a pull request on the model (then \
    'graft download \(model)@refs/pr/N'), or in Python \
    AutoModelForCausalLM.from_pretrained('\(model)').save_pretrained('DIR') and use DIR
    """
  }

  private static func list(_ files: [String]) -> String {
    files.prefix(3).joined(separator: ", ")
      + (files.count > 3 ? " and \(files.count - 3) more" : "")
  }
}
