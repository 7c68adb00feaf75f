/// What went wrong while reading or writing a checkpoint file.
///
/// Every case carries the path; ``kind`` groups the cases by what the caller can do about them.
public enum CheckpointError: Error, Equatable, Sendable {
  /// The input does not exist.
  case missing(path: String)
  /// The input exists but cannot be opened, mapped or listed.
  case unreadable(path: String, reason: String)
  /// The file is not a valid safetensors file.
  case safetensors(path: String, defect: SafetensorsDefect)
  /// The index of a sharded checkpoint is malformed or contradicts its shards.
  case index(path: String, reason: String)
  /// The file is not a valid GGUF file.
  case gguf(path: String, defect: GGUFDefect)
  /// The file or directory is valid but lacks a tensor or a metadata entry that is needed.
  case lacks(path: String, what: String)
  /// An entry of the file has another value than the rest of the file demands.
  case mismatch(path: String, what: String, expected: String, actual: String)
  /// The file is valid, but uses something that is not implemented here.
  case unsupported(path: String, what: String, supported: [String])
  /// The output cannot be created, written, flushed or renamed.
  case cannotWrite(path: String, reason: String)
  /// The disk, or the quota, is full.
  case diskFull(path: String)
  /// The directory that should hold the output does not exist.
  case parentMissing(path: String, parent: String)
  /// The output exists and replacing it was not asked for.
  case alreadyExists(path: String)
  /// The caller described a tensor that no file can hold.
  case invalidTensor(path: String, tensor: String, reason: String)
  /// The caller gave a tensor too many or too few bytes.
  case wrongByteCount(path: String, tensor: String, expected: Int, actual: Int)
}

extension CheckpointError {
  /// The groups of errors that a caller treats alike.
  public enum Kind: Sendable, Equatable {
    /// An input is missing or unreadable; a command exits with 66.
    case inputMissing
    /// An input is malformed or unsupported; a command exits with 65.
    case badData
    /// An output cannot be written; a command exits with 73.
    case cannotWrite
    /// The program used the writer wrongly; a command exits with 70.
    case misuse
  }

  /// What the caller can do about this error.
  public var kind: Kind {
    switch self {
    case .missing, .unreadable: .inputMissing
    case .safetensors, .index, .gguf, .lacks, .mismatch, .unsupported: .badData
    case .cannotWrite, .diskFull, .parentMissing, .alreadyExists: .cannotWrite
    case .invalidTensor, .wrongByteCount: .misuse
    }
  }
}

extension CheckpointError {
  /// The error of writing in a directory that gets another name when it is complete, with that name.
  ///
  /// - Parameters:
  ///   - temporary: the directory that was written into.
  ///   - final: the name that it would have had.
  /// - Returns: the same error; one of another place or kind is left as it is.
  package func renaming(_ temporary: String, to final: String) -> CheckpointError {
    func renamed(_ place: String) -> String {
      place.hasPrefix(temporary) ? final + place.dropFirst(temporary.count) : place
    }
    return switch self {
    case .diskFull(let place): .diskFull(path: renamed(place))
    case .cannotWrite(let place, let reason): .cannotWrite(path: renamed(place), reason: reason)
    default: self
    }
  }
}

extension CheckpointError: CustomStringConvertible {
  /// The path, what is wrong there, and what was expected.
  public var description: String {
    switch self {
    case .missing(let path): "\(path): no such file or directory"
    case .unreadable(let path, let reason): "\(path): cannot be read: \(reason)"
    case .safetensors(let path, let defect): "\(path): not a valid safetensors file: \(defect)"
    case .index(let path, let reason): "\(path): not a valid checkpoint index: \(reason)"
    case .gguf(let path, let defect): "\(path): not a valid GGUF file: \(defect)"
    case .lacks(let path, let what): "\(path): lacks \(what)"
    case .mismatch(let path, let what, let expected, let actual):
      "\(path): \(what): expected \(expected), found \(actual)"
    case .unsupported(let path, let what, let supported):
      "\(path): \(what) is not supported; supported: \(supported.joined(separator: ", "))"
    case .cannotWrite(let path, let reason): "\(path): cannot be written: \(reason)"
    case .diskFull(let path): "\(path): cannot be written: no space is left on the disk"
    case .parentMissing(let path, let parent):
      "\(path): cannot be written: the directory \(parent) does not exist"
    case .alreadyExists(let path):
      "\(path): exists already; choose another path"
    case .invalidTensor(let path, let tensor, let reason):
      "\(path): tensor \(quoted(tensor)) cannot be written: \(reason)"
    case .wrongByteCount(let path, let tensor, let expected, let actual):
      "\(path): tensor \(quoted(tensor)) takes \(expected) bytes, but \(actual) were given"
    }
  }
}

/// A name from a file, quoted and cut to a length that a terminal can show.
///
/// Control characters are escaped, so that a hostile name cannot drive the terminal.
package func quoted(_ name: String, limit: Int = 120) -> String {
  var text = "\""
  for (index, scalar) in name.unicodeScalars.enumerated() {
    if index == limit {
      return text + "...\" (\(name.utf8.count) bytes)"
    }
    let isControl = scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value)
    if isControl || scalar == "\"" || scalar == "\\" {
      text += scalar.escaped(asASCII: true)
    } else {
      text.unicodeScalars.append(scalar)
    }
  }
  return text + "\""
}
