public import Foundation

/// The folder in which Hugging Face's programs keep what they have downloaded.
///
/// Layout: `models--ORG--NAME/refs/REVISION` holds a commit, `snapshots/COMMIT` its files.
///
/// - Note: Source: huggingface_hub's cache, version 1 of its layout.
public struct HubCache: Sendable {
  /// The folder.
  public let directory: String

  /// Makes a cache.
  ///
  /// - Parameters:
  ///   - directory: The folder; nil for the one that the environment says: `HF_HUB_CACHE`, else
  ///     `HF_HOME`/hub, else `~/.cache/huggingface/hub`.
  ///   - environment: Variables by name.
  public init(
    directory: String? = nil, environment: [String: String] = ProcessInfo.processInfo.environment
  ) {
    func value(_ name: String) -> String? { environment[name].flatMap { $0.isEmpty ? nil : $0 } }
    let caches = value("XDG_CACHE_HOME") ?? (value("HOME") ?? NSHomeDirectory()) + "/.cache"
    self.directory =
      directory ?? value("HF_HUB_CACHE") ?? (value("HF_HOME") ?? caches + "/huggingface") + "/hub"
  }

  /// Whether a text has the form of a model's name, `ORG/NAME`.
  ///
  /// - Parameter name: The text.
  /// - Returns: True for two parts of letters, digits, `-`, `_` and `.`.
  public static func isModelName(_ name: String) -> Bool {
    let parts = name.split(separator: "/", omittingEmptySubsequences: false)
    return parts.count == 2
      && parts.allSatisfy { part in
        !part.isEmpty && part.first != "." && part.first != "-"
          && part.utf8.allSatisfy {
            (48...57).contains($0) || (65...90).contains($0) || (97...122).contains($0)
              || [45, 46, 95].contains($0)
          }
      }
  }

  /// The directory of a model that was downloaded.
  ///
  /// - Parameters:
  ///   - name: `ORG/NAME`.
  ///   - revision: A branch, a tag or a whole commit.
  /// - Returns: The directory of its files, or nil when it is not there.
  public func snapshot(of name: String, revision: String = "main") -> String? {
    let model = "\(directory)/models--" + name.split(separator: "/").joined(separator: "--")
    let reference = try? String(contentsOfFile: "\(model)/refs/\(revision)", encoding: .utf8)
    let commit = reference?.trimmingCharacters(in: .whitespacesAndNewlines) ?? revision
    let snapshot = "\(model)/snapshots/\(commit)"
    var isDirectory: ObjCBool = false
    let exists = FileManager.default.fileExists(atPath: snapshot, isDirectory: &isDirectory)
    return exists && isDirectory.boolValue ? snapshot : nil
  }
}
