import Checkpoints
import Foundation

/// The `README.md` of an adapter directory: what hubs read in its front matter, and a page for people.
///
/// An existing card is kept: only what the adapter knows better is changed, in the front matter.
struct ModelCard {
  let baseModel: String?
  let peftType: String
  let taskType: String?

  init(of configuration: any AdapterConfiguration) {
    baseModel = configuration.origin.baseModel
    peftType = type(of: configuration).type
    taskType = configuration.origin.taskType
  }

  /// Writes the card, or brings the one that is there up to date.
  func write(to directory: String) throws {
    let path = directory + "/README.md"
    let existing = try? String(contentsOfFile: path, encoding: .utf8)
    try AtomicFile.write(path: path, text: text(updating: existing))
  }

  /// The card's text.
  ///
  /// - Parameter existing: The text of the card that is there; nil for none.
  /// - Returns: The text to write.
  func text(updating existing: String?) -> String {
    let (front, body) = Self.split(existing ?? "")
    var blocks = front
    func set(_ key: String, _ lines: [String]) {
      blocks.removeAll { $0.key == key }
      blocks.append((key, lines))
    }
    if let baseModel { set("base_model", ["base_model: \(Self.quoted(baseModel))"]) }
    set("library_name", ["library_name: peft"])
    if taskType == "CAUSAL_LM", !blocks.contains(where: { $0.key == "pipeline_tag" }) {
      set("pipeline_tag", ["pipeline_tag: text-generation"])
    }
    var tags =
      blocks.first { $0.key == "tags" }?.lines.dropFirst().map {
        String($0.drop { $0 == " " || $0 == "-" })
      } ?? []
    let own = (baseModel.map { ["base_model:adapter:\($0)"] } ?? []) + [peftType.lowercased()]
    for tag in own.map(Self.quoted) + ["transformers"] where !tags.contains(tag) {
      tags.append(tag)
    }
    set("tags", ["tags:"] + tags.sorted().map { "- \($0)" })
    let lines = blocks.sorted { $0.key < $1.key }.flatMap(\.lines)
    return "---\n" + lines.joined(separator: "\n") + "\n---\n" + (existing == nil ? page : body)
  }

  /// The page of a new card.
  private var page: String {
    """

    # \(peftType) adapter\(baseModel.map { " for \($0)" } ?? "")

    `adapter_config.json` describes the adapter, `adapter_model.safetensors` holds its weights. Both are
    in the format of PEFT 0.21.2.

    ## Intended use

    (What it was trained for, and on which data.)

    ## Evaluation

    (How well it does, and how that was measured.)

    """
  }

  /// The front matter as top-level keys with their lines, and what follows it.
  private static func split(
    _ text: String
  ) -> (front: [(key: String, lines: [String])], body: String) {
    let lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    guard lines.first == "---", let end = lines.dropFirst().firstIndex(of: "---") else {
      return ([], text.isEmpty ? "" : "\n" + text)
    }
    var blocks: [(key: String, lines: [String])] = []
    for line in lines[1..<end] {
      let isTop = line.first.map { $0 != " " && $0 != "-" && $0 != "#" } ?? false
      if isTop, let colon = line.firstIndex(of: ":") {
        blocks.append((String(line[..<colon]), [line]))
      } else if !blocks.isEmpty {
        blocks[blocks.count - 1].lines.append(line)
      }
    }
    return (blocks, lines[(end + 1)...].joined(separator: "\n"))
  }

  /// A YAML scalar that means the text.
  private static func quoted(_ text: String) -> String {
    let plain = text.allSatisfy { $0.isLetter || $0.isNumber || "-_./:".contains($0) }
    let isSafe = plain && text.first?.isLetter == true && !text.hasSuffix(":")
    return isSafe
      ? text
      : "'"
        + text.split(separator: "'", omittingEmptySubsequences: false)
        .joined(separator: "''") + "'"
  }
}
