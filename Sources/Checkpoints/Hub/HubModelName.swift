/// A model or an adapter on the hub: `ORG/NAME` or `ORG/NAME@REVISION`.
///
/// Models of the hub's first days have names without an organisation, such as `gpt2`, under which the hub
/// still knows them.
public struct HubModelName: Sendable, Equatable, CustomStringConvertible {
  /// `ORG/NAME`, or `NAME` alone.
  public let name: String
  /// A branch, a tag or a whole commit.
  public let revision: String

  /// Whether the name says whose the model is.
  public var hasOrganisation: Bool { name.contains("/") }

  /// The revision that a name without one means.
  public static let defaultRevision = "main"

  /// Reads a name.
  ///
  /// - Parameters:
  ///   - text: `ORG/NAME` or `NAME`, or with `@` and a revision behind it.
  ///   - revision: A revision given apart; one in the text as well must be the same.
  public init?(_ text: String, revision: String? = nil) {
    let parts = text.split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false)
    guard let name = parts.first.map(String.init), Self.isName(name) else { return nil }
    let inText = parts.count == 2 ? String(parts[1]) : nil
    if let revision, let inText, revision != inText { return nil }
    let chosen = revision ?? inText ?? Self.defaultRevision
    guard Self.isRevision(chosen) else { return nil }
    self.name = name
    self.revision = chosen
  }

  /// The name, with the revision where it is not the default one.
  public var description: String {
    revision == Self.defaultRevision ? name : "\(name)@\(revision)"
  }

  /// Whether the revision is a whole commit, which never changes.
  var isCommit: Bool { isHexadecimal(revision, count: 40) }

  /// Whether a text has the form of a model's name, `ORG/NAME` or `NAME`.
  ///
  /// - Parameter name: The text.
  /// - Returns: True for one or two parts of letters, digits, `-`, `_` and `.`, at most 96 each, none
  ///   doubled of `-` and `.`, none of these at an end.
  public static func isName(_ name: String) -> Bool {
    let parts = name.split(separator: "/", omittingEmptySubsequences: false)
    guard (1...2).contains(parts.count), !name.contains("--"), !name.contains("..")
    else { return false }
    return parts.allSatisfy { part in
      guard part.utf8.count <= 96, let first = part.utf8.first, let last = part.utf8.last else {
        return false
      }
      let marks = [UInt8(ascii: "-"), UInt8(ascii: ".")]
      return !marks.contains(first) && !marks.contains(last) && !part.hasSuffix(".git")
        && part.utf8.allSatisfy(isNameByte)
    }
  }

  /// Whether a text can be a revision: what git allows, and no path that climbs.
  private static func isRevision(_ text: String) -> Bool {
    !text.isEmpty && text.utf8.count <= 200
      && text.utf8.allSatisfy { isNameByte($0) || [0x2B, 0x2F, 0x23, 0x3D].contains($0) }
      && text.split(separator: "/", omittingEmptySubsequences: false).allSatisfy { part in
        !part.isEmpty && !part.hasPrefix(".") && !part.contains("..") && !part.hasPrefix("-")
      }
  }
}

/// Whether a byte is a letter, a digit, `-`, `.` or `_`.
func isNameByte(_ byte: UInt8) -> Bool {
  (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte)
    || [45, 46, 95].contains(byte)
}

/// Whether a text is hexadecimal digits, so many of them.
func isHexadecimal(_ text: String, count: Int) -> Bool {
  text.utf8.count == count
    && text.utf8.allSatisfy { byte in
      (48...57).contains(byte) || (97...102).contains(byte) || (65...70).contains(byte)
    }
}
