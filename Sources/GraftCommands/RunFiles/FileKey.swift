import JSONValues

/// A key of DeepSpeed's or Accelerate's files: what may stand there, and what becomes of it.
struct FileKey {
  /// What a value must be; "auto" and null may always stand there.
  enum Kind: String {
    case flag = "true or false"
    case count = "a whole number, 0 or more"
    case number = "a number"
    case text = "a text"
    case list = "a list"
    case object = "an object"
    case anything
  }

  /// What becomes of a value.
  enum Rule {
    /// It is read by ``FileResolution``.
    case used
    /// It changes nothing here, for this reason.
    case notNeeded(String)
    /// These values alone, for this reason.
    case only([JSON], String)
    /// Off alone: false, or a section without `"enabled": true`; for this reason.
    case off(String)
    /// An object of keys.
    case section([FileKey])
  }

  let name: String
  let kind: Kind
  let rule: Rule

  init(_ name: String, _ kind: Kind, _ rule: Rule) {
    (self.name, self.kind, self.rule) = (name, kind, rule)
  }
}

extension FileKey.Kind {
  /// Whether a value is of the kind; whole numbers may be written as 5e8.
  func accepts(_ value: JSON) -> Bool {
    switch self {
    case .flag: value.boolValue != nil
    case .count: value.wholeNumber.map { $0 >= 0 } ?? false
    case .number: value.doubleValue.map(\.isFinite) ?? false
    case .text: value.stringValue != nil
    case .list: value.arrayValue != nil
    case .object: value.objectValue != nil
    case .anything: true
    }
  }
}

extension JSON {
  /// The integer, also where it is written as 5e8.
  var wholeNumber: Int? { intValue ?? doubleValue.flatMap(Int.init(exactly:)) }

  /// The value unless it is null.
  var present: JSON? { isNull ? Optional.none : self }

  /// Whether it is left to the run.
  var isAuto: Bool { stringValue == "auto" }

  /// As it stands in a file.
  var written: String { stringValue ?? serialized(escapeNonASCII: false) }
}
