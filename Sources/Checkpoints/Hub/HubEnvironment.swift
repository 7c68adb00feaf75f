public import Foundation

/// What the environment says about the hub, in the variables of Hugging Face's programs.
///
/// - Note: Source: huggingface_hub, `constants.py` and `get_token`.
public struct HubEnvironment: Sendable {
  private let variables: [String: String]

  /// Reads variables; an empty one counts as not set.
  ///
  /// - Parameter variables: Values by name.
  public init(_ variables: [String: String] = ProcessInfo.processInfo.environment) {
    self.variables = variables
  }

  private subscript(name: String) -> String? {
    variables[name].flatMap { $0.isEmpty ? nil : $0 }
  }

  private func isTrue(_ name: String) -> Bool {
    ["1", "ON", "YES", "TRUE"].contains(self[name]?.uppercased())
  }

  private var userHome: String { self["HOME"] ?? NSHomeDirectory() }

  /// The value of a variable that is a path, with `~`, `$NAME` and `${NAME}` replaced.
  private func path(_ name: String) -> String? {
    guard var text = self[name] else { return nil }
    if text == "~" || text.hasPrefix("~/") { text = userHome + text.dropFirst() }
    return text.replacing(#/\$(?:\{(?<braced>[^}]*)\}|(?<plain>[A-Za-z0-9_]+))/#) { match in
      variables[String(match.braced ?? match.plain ?? "")] ?? String(match.0)
    }
  }

  /// The folder of Hugging Face's programs: `HF_HOME`, else `~/.cache/huggingface`.
  public var home: String {
    path("HF_HOME") ?? (path("XDG_CACHE_HOME") ?? userHome + "/.cache") + "/huggingface"
  }

  /// The folder of downloaded files: `HF_HUB_CACHE`, else `HF_HOME`/hub.
  public var cacheDirectory: String {
    path("HF_HUB_CACHE") ?? path("HUGGINGFACE_HUB_CACHE") ?? home + "/hub"
  }

  /// Whether nothing may be asked of the network: `HF_HUB_OFFLINE` or `TRANSFORMERS_OFFLINE`.
  public var isOffline: Bool {
    isTrue(self["HF_HUB_OFFLINE"] == nil ? "TRANSFORMERS_OFFLINE" : "HF_HUB_OFFLINE")
  }

  /// Whether progress bars are not wanted: `HF_HUB_DISABLE_PROGRESS_BARS`.
  public var hidesProgress: Bool { isTrue("HF_HUB_DISABLE_PROGRESS_BARS") }

  /// Seconds of silence after which a server is given up: `HF_HUB_DOWNLOAD_TIMEOUT`, else 10.
  package var timeout: Double {
    guard let seconds = self["HF_HUB_DOWNLOAD_TIMEOUT"].flatMap(Double.init), seconds > 0 else {
      return 10
    }
    return seconds
  }

  /// The hub or a mirror of it: `HF_ENDPOINT`, else `https://huggingface.co`.
  package func endpoint() throws(HubError) -> HubEndpoint {
    let text = self["HF_ENDPOINT"] ?? "https://huggingface.co"
    guard let endpoint = HubEndpoint(text) else { throw .endpoint(text) }
    return endpoint
  }

  /// The user's token: `HF_TOKEN`, else the file `HF_TOKEN_PATH` or `HF_HOME`/token.
  ///
  /// - Returns: The token, or nil when there is none or `HF_HUB_DISABLE_IMPLICIT_TOKEN` is set.
  /// - Throws: ``HubError/token(source:)`` for one that no header can hold.
  package func token() throws(HubError) -> String? {
    if isTrue("HF_HUB_DISABLE_IMPLICIT_TOKEN") { return nil }
    for name in ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"] {
      if let token = try checked(self[name], source: name) { return token }
    }
    let file = path("HF_TOKEN_PATH") ?? home + "/token"
    return try checked(try? String(contentsOfFile: file, encoding: .utf8), source: file)
  }

  private func checked(_ text: String?, source: String) throws(HubError) -> String? {
    let token = text?.filter { !$0.isNewline }.trimmingCharacters(in: .whitespaces) ?? ""
    guard !token.isEmpty else { return nil }
    guard token.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
      throw .token(source: source)
    }
    return token
  }
}
