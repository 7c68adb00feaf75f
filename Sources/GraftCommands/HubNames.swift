import Checkpoints
import CommandLineParsing
import Foundation

/// Directories that options name: as a path, or as a model or adapter on the hub.
enum HubNames {
  /// The directory that a text means; one on the hub is fetched if it is not in the cache.
  ///
  /// A path that exists wins; what is neither comes back as it is, for the reader to refuse.
  static func directory(
    of text: String, _ contents: HubContents, isQuiet: Bool = false
  ) throws -> String {
    // All adapters are younger than names without an organisation: such a text is a missing directory.
    guard let model = hubName(text), contents != .adapter || model.hasOrganisation else {
      return text
    }
    let display = DownloadDisplay(isQuiet: isQuiet || HubEnvironment().hidesProgress)
    defer { display.end() }
    do {
      return try HubDownloader().find(model, contents, report: display.show).directory
    } catch let error as HubError where error.kind == .inputMissing {
      throw CheckpointError.unreadable(
        path: text, reason: "there is no such directory; on the hub: \(error)")
    }
  }

  /// The name on the hub that a text is, where it is no path that exists.
  static func hubName(_ text: String) -> HubModelName? {
    FileManager.default.fileExists(atPath: text) ? nil : HubModelName(text)
  }

  /// The adapter directory that a text means.
  static func adapter(_ text: String, isQuiet: Bool = false) throws -> String {
    try directory(of: text, .adapter, isQuiet: isQuiet)
  }
}

extension ParsedArguments {
  /// The directory of the adapter that `--adapter` names, by path or by its name on the hub.
  func adapterDirectory(isQuiet: Bool = false) throws -> String? {
    try self[ModelOptions.adapter].map { try HubNames.adapter($0, isQuiet: isQuiet) }
  }
}
