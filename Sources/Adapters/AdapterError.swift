import CommandLineParsing

/// What can be wrong with an adapter or its configuration.
public enum AdapterError: Error, Equatable, Sendable {
  /// A field of the configuration has a value that it cannot have.
  case configuration(field: String, expected: String, actual: String)
  /// A field asks for something that is not there yet.
  case unsupported(field: String, value: String)
  /// The file is not of a known method.
  case unknownMethod(path: String, type: String, known: [String])
  /// A file's configuration has fields that the method does not have here: a newer PEFT wrote it.
  case unknownFields(path: String, names: [String], version: String?)
  /// A file's configuration is malformed, or asks for what cannot be had.
  case file(path: String, reason: String)
  /// Names that no layer of the model has.
  case noSuchModules(names: [String], known: [String])
  /// The file's tensors are not the adapter's: some are missing, some have no place, some have another
  /// shape, as the adapter was made for another base model or with another configuration.
  case keys(path: String, report: LoadReport)
  /// A merge would put infinities or NaN into a weight.
  case notFinite(module: String, adapter: String)
  /// The method cannot do that.
  case impossible(method: String, what: String)
  /// Adapters cannot be together in the way that was asked for.
  case conflict(String)
  /// An adapter of that name is there already, or is not there.
  case name(String, exists: Bool)
}

extension AdapterError: CustomStringConvertible {
  /// What is wrong, where, and what to do.
  public var description: String {
    switch self {
    case .configuration(let field, let expected, let actual):
      "adapter configuration: \(field) is \(actual), expected \(expected)"
    case .unsupported(let field, let value):
      "adapter configuration: \(field) = \(value) is not supported"
    case .unknownMethod(let path, let type, let known):
      "\(path): peft_type \"\(type)\" is not supported; known: \(known.joined(separator: ", "))"
    case .unknownFields(let path, let names, let version):
      "\(path): fields that are not known here: \(names.joined(separator: ", ")); "
        + (version.map { "PEFT \($0) wrote it" } ?? "another version of PEFT may have written it")
        + ", known are those of PEFT 0.21.2"
    case .file(let path, let reason): "\(path): \(reason)"
    case .noSuchModules(let names, let known):
      "target modules \(names.joined(separator: ", ")) are not in the model; it has "
        + known.joined(separator: ", ")
        + names.compactMap { name in
          nearestName(name, among: known).map { "; did you mean \($0) by \(name)?" }
        }.joined()
    case .keys(let path, let report): path + ":" + Self.description(of: report)
    case .notFinite(let module, let adapter):
      "merging adapter \"\(adapter)\" into \(module) would give infinite or undefined weights"
    case .impossible(let method, let what): "\(method) adapters cannot be \(what)"
    case .conflict(let reason): reason
    case .name(let name, let exists):
      "adapter \"\(name)\" \(exists ? "exists already" : "does not exist")"
    }
  }

  /// Everything that does not fit, a line each.
  private static func description(of report: LoadReport) -> String {
    func list(_ title: String, _ lines: [String]) -> String {
      lines.isEmpty ? "" : "\n\(title)" + lines.map { "\n  " + $0 }.joined()
    }
    return list("the adapter needs, and the file lacks:", report.missing)
      + list("the file has, and the model has no place for:", report.unexpected)
      + list(
        "the shapes differ (another base model, or another configuration):",
        report.misshapen.map { "\($0.key): \($0.actual), but \($0.expected) is needed" })
  }
}

extension AdapterError {
  /// Keys that are missing, or that nothing has a place for.
  static func keys(path: String, missing: [String], unexpected: [String]) -> AdapterError {
    var report = LoadReport()
    (report.missing, report.unexpected) = (missing, unexpected)
    return .keys(path: path, report: report)
  }

  /// One tensor of another shape than is needed.
  static func wrongShape(
    path: String, key: String, expected: [Int], actual: [Int]
  ) -> AdapterError {
    var report = LoadReport()
    report.misshapen = [LoadReport.Misshapen(key: key, expected: expected, actual: actual)]
    return .keys(path: path, report: report)
  }
}
