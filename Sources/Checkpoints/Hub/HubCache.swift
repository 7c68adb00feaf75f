public import Foundation

/// The folder in which Hugging Face's programs keep what they have downloaded.
///
/// Layout: `models--ORG--NAME/` (`models--NAME/` for a model without an organisation) holds contents by their checksum in `blobs`, each commit's files as
/// links to them in `snapshots/COMMIT`, what a branch or tag meant in `refs/REVISION`, and marks of
/// files that a commit does not have in `.no_exist/COMMIT`; `.locks` beside the models is for those
/// who write.
///
/// - Note: Source: huggingface_hub's cache, version 1 of its layout.
public struct HubCache: Sendable {
  /// The folder.
  public let directory: String

  /// Makes a cache.
  ///
  /// - Parameters:
  ///   - directory: The folder; nil for the one that the environment says.
  ///   - environment: Variables by name.
  public init(
    directory: String? = nil, environment: [String: String] = ProcessInfo.processInfo.environment
  ) {
    self.directory = directory ?? HubEnvironment(environment).cacheDirectory
  }

  /// The directory of a model that was downloaded, whole or in part.
  ///
  /// - Parameters:
  ///   - name: `ORG/NAME` or `NAME`.
  ///   - revision: A branch, a tag or a whole commit.
  /// - Returns: The directory of its files, or nil when it is not there.
  public func snapshot(of name: String, revision: String = "main") -> String? {
    guard let commit = commit(of: name, revision: revision) else { return nil }
    let snapshot = snapshot(of: name, commit: commit)
    var isDirectory: ObjCBool = false
    let exists = FileManager.default.fileExists(atPath: snapshot, isDirectory: &isDirectory)
    return exists && isDirectory.boolValue ? snapshot : nil
  }

  /// What is missing of a model in the cache.
  ///
  /// - Parameters:
  ///   - model: The model or adapter.
  ///   - contents: What is wanted of it.
  /// - Returns: The name of a file that is needed and not there, or nil when there is none.
  package func lacking(_ model: HubModelName, _ contents: HubContents) -> String? {
    guard let directory = snapshot(of: model.name, revision: model.revision) else {
      return "the model is not"
    }
    func isThere(_ name: String) -> Bool {
      FileManager.default.fileExists(atPath: "\(directory)/\(name)")
    }
    func first(_ names: [String]) -> String? {
      names.first { !isThere($0) }.map { "\($0) is not" }
    }
    let ofAdapter = first([HubSelection.adapterConfiguration, HubSelection.adapterWeights])
    if contents == .adapter || (contents == .any && ofAdapter == nil) { return ofAdapter }
    if let lacking = first(["config.json"]) { return lacking }
    if isThere(HubSelection.singleWeights) { return nil }
    guard isThere(HubSelection.weightsIndex) else { return "\(HubSelection.singleWeights) is not" }
    let index = "\(directory)/\(HubSelection.weightsIndex)"
    guard let shards = try? HubSelection.shards(inIndex: index) else {
      return "a readable \(HubSelection.weightsIndex) is not"
    }
    return first(shards)
  }

  /// Whether nothing would be gained by asking the hub: the weights are there, and the tokenizer or
  /// a mark that there is none.
  package func isComplete(_ model: HubModelName, _ contents: HubContents) -> Bool {
    guard lacking(model, contents) == nil,
      let directory = snapshot(of: model.name, revision: model.revision)
    else { return false }
    if contents == .adapter { return true }
    let commit = lastComponent(of: directory)
    return [
      "\(directory)/tokenizer.json", marker("tokenizer.json", of: model.name, commit: commit),
      "\(directory)/\(HubSelection.adapterConfiguration)",
    ].contains(where: FileManager.default.fileExists(atPath:))
  }
}

/// Where things are.
extension HubCache {
  private func folderName(_ name: String) -> String {
    "models--" + name.split(separator: "/").joined(separator: "--")
  }

  private func folder(_ name: String) -> String { "\(directory)/\(folderName(name))" }

  /// The commit that a revision meant when it was last asked for.
  private func commit(of name: String, revision: String) -> String? {
    if isHexadecimal(revision, count: 40) { return revision }
    let reference = try? String(contentsOfFile: reference(revision, of: name), encoding: .utf8)
    let commit = reference?.trimmingCharacters(in: .whitespacesAndNewlines) ?? revision
    return HubListing.isPlain(commit) ? commit : nil
  }

  func snapshot(of name: String, commit: String) -> String { "\(folder(name))/snapshots/\(commit)" }

  func blob(_ digits: String, of name: String) -> String { "\(folder(name))/blobs/\(digits)" }

  func reference(_ revision: String, of name: String) -> String {
    "\(folder(name))/refs/\(revision)"
  }

  func marker(_ path: String, of name: String, commit: String) -> String {
    "\(folder(name))/.no_exist/\(commit)/\(path)"
  }

  func lock(_ digits: String, of name: String) -> String {
    "\(directory)/.locks/\(folderName(name))/\(digits).lock"
  }
}
