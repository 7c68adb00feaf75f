package import JSONValues

/// A checksum that the hub announces for a file.
package enum HubDigest: Sendable, Equatable {
  /// SHA-256 of the content, of files in large-file storage.
  case sha256(String)
  /// SHA-1 of git's header and the content, of the other files.
  case gitBlob(String)

  /// The digits, which name the file in the cache.
  var digits: String {
    switch self {
    case .sha256(let digits), .gitBlob(let digits): digits
    }
  }

  /// Reads what a server sends as an entity tag; nil when it is no checksum.
  package init?(entityTag: String) {
    let digits = entityTag.lowercased()
    if isHexadecimal(digits, count: 64) {
      self = .sha256(digits)
    } else if isHexadecimal(digits, count: 40) {
      self = .gitBlob(digits)
    } else {
      return nil
    }
  }
}

/// A file of a repository, as far as the server describes it.
package struct HubFile: Sendable, Equatable {
  package let path: String
  package var size: Int?
  package var digest: HubDigest?
  /// The name of the file's content in the cache; nil as long as it is not known.
  package var blob: String?

  package init(path: String, size: Int? = nil, digest: HubDigest? = nil) {
    self.path = path
    self.size = size
    self.digest = digest
    blob = digest?.digits
  }
}

/// A commit of a repository and its files.
package struct HubListing: Sendable, Equatable {
  package let commit: String
  package let files: [HubFile]

  /// Reads the hub's answer.
  ///
  /// Files whose path could leave a directory are left out: none of those wanted is such.
  ///
  /// - Throws: ``HubError/answer(url:reason:)``.
  package init(_ json: JSON, url: String) throws(HubError) {
    guard let commit = json["sha"]?.stringValue, !commit.isEmpty, commit.utf8.count <= 64,
      commit.utf8.allSatisfy({ isNameByte($0) && $0 != UInt8(ascii: ".") })
    else { throw .answer(url: url, reason: "the list of files names no commit") }
    guard let siblings = json["siblings"]?.arrayValue else {
      throw .answer(url: url, reason: "there is no list of files in the answer")
    }
    self.commit = commit
    files = siblings.compactMap(Self.file)
  }

  func file(_ path: String) -> HubFile? { files.first { $0.path == path } }

  private static func file(_ json: JSON) -> HubFile? {
    guard let path = json["rfilename"]?.stringValue, isPlain(path) else { return nil }
    if let large = json["lfs"], let sum = large["sha256"]?.stringValue,
      case .sha256(let digits)? = HubDigest(entityTag: sum)
    {
      return HubFile(
        path: path, size: size(large["size"]) ?? size(json["size"]), digest: .sha256(digits))
    }
    guard let sum = json["blobId"]?.stringValue, json["lfs"]?.isNull ?? true,
      case .gitBlob(let digits)? = HubDigest(entityTag: sum)
    else { return HubFile(path: path, size: size(json["size"])) }
    return HubFile(path: path, size: size(json["size"]), digest: .gitBlob(digits))
  }

  private static func size(_ json: JSON?) -> Int? {
    json?.intValue.flatMap { $0 >= 0 ? $0 : nil }
  }

  /// Whether a path stays below the directory it is put into.
  static func isPlain(_ path: String) -> Bool {
    !path.utf8.contains(0) && !path.contains("\\")
      && path.split(separator: "/", omittingEmptySubsequences: false).allSatisfy { part in
        !part.isEmpty && part != "." && part != ".."
      }
  }
}
