import CommandLineParsing
import JSONValues

/// What a file of DeepSpeed's or Accelerate's comes to: options of `graft train`, and a line for each of
/// its keys.
///
/// A key that is "auto" is taken from the options; an option that says something else than the file is an
/// error, as in transformers' integration. A key that is not there has the file's own default where its
/// section is there, else the option's.
struct FileResolution {
  /// One line of what is shown.
  struct Line: Equatable {
    /// The key, with those of the sections it stands in.
    let key: String
    /// What the file says; nil where it says nothing.
    let written: String?
    /// What becomes of it.
    let meaning: String
  }

  /// The options that the file asks for.
  private(set) var options: [(name: String, value: String)] = []
  /// Every key with what becomes of it.
  private(set) var lines: [Line] = []

  let file: JSONObject
  /// What messages call the file.
  let source: String
  /// Processes of the run.
  let processes: Int
  /// What is said beside the file.
  private let stated: ParsedArguments
  /// The same with what a resumed run began with, for "auto".
  private let current: [String: String?]
  private var refusals: [String] = []
  private var contradictions: [String] = []

  /// Begins with a file.
  ///
  /// - Parameters:
  ///   - file: Its content.
  ///   - source: What messages call it.
  ///   - processes: Processes of the run.
  ///   - stated: The command line, `--set` and `--config`.
  ///   - current: The same over the recipe of a resumed run, for "auto".
  init(
    _ file: JSONObject, source: String, processes: Int, stated: ParsedArguments,
    current: ParsedArguments
  ) {
    self.file = file
    self.source = source
    self.processes = processes
    self.stated = stated
    self.current = Dictionary(
      current.resolved().map { ($0.name, $0.value) }, uniquingKeysWith: { $1 })
  }

  /// Checks names, kinds and what is supported.
  ///
  /// - Throws: ``RecipeError`` with everything that is wrong.
  mutating func check(_ keys: [FileKey]) throws {
    check(file, keys, path: "")
    try throwRefusals()
  }

  /// Ends.
  ///
  /// - Throws: ``RecipeError`` for values that cannot be or are not supported, all of them at once;
  ///   `UsageError` for options that contradict the file, all of them at once.
  func finish() throws {
    try throwRefusals()
    guard contradictions.isEmpty else {
      throw UsageError(
        contradictions.joined(separator: "\n")
          + "\nleave the options out, or change the file: \"auto\" stands for an option")
    }
  }

  private func throwRefusals() throws {
    guard refusals.isEmpty else {
      throw RecipeError("\(source): " + refusals.joined(separator: "\n\(source): "))
    }
  }

  /// Checks names, kinds and what is supported, section by section.
  private mutating func check(_ object: JSONObject, _ keys: [FileKey], path: String) {
    for (name, value) in object {
      guard let key = keys.first(where: { $0.name == name }) else {
        let near = nearestName(name, among: keys.map(\.name)).map { "; did you mean \($0)?" }
        refuse("unknown key \(path)\(name)\(near ?? "")")
        continue
      }
      let place = path + name
      let isLeft = value.isNull || value.isAuto
      guard isLeft || key.kind.accepts(value) else {
        refuse("\(place) is \(value.written), expected \(key.kind.rawValue)")
        continue
      }
      switch key.rule {
      case .used: break
      case .notNeeded(let reason): note(place, value, "not needed here: \(reason)")
      case .only(let values, let reason):
        guard isLeft || values.contains(where: { $0.means(value) }) else {
          refuse("\(place) = \(value.written) is not supported: \(reason)")
          continue
        }
        note(place, value, "as it is here: \(reason)")
      case .off(let reason):
        guard value.isOff else {
          refuse("\(place) is not supported: \(reason)")
          continue
        }
        note(place, value, "off")
      case .section(let inner):
        // An old spelling of stage 1.
        if name == "zero_optimization", value.boolValue != nil { continue }
        guard isLeft || value.objectValue != nil else {
          refuse("\(place) is \(value.written), expected an object")
          continue
        }
        if let section = value.objectValue { check(section, inner, path: place + ".") }
      }
    }
  }

  /// The value of a key, found through its sections; nil where it is missing or null.
  func value(_ path: String) -> JSON? {
    var found: JSON? = .object(file)
    for name in path.split(separator: ".") { found = found?[String(name)] }
    return found?.present
  }

  /// Whether a section is there.
  func has(_ path: String) -> Bool { value(path)?.objectValue != nil }

  /// What an option says, by itself or by default.
  func current(_ option: String) -> String? { current[option] ?? nil }

  /// Whether the command line or a recipe says an option.
  func isStated(_ option: String) -> Bool { stated.isGiven(option) }

  mutating func refuse(_ reason: String) { refusals.append(reason) }

  mutating func contradict(_ reason: String) { contradictions.append(reason) }

  mutating func note(_ key: String, _ value: JSON?, _ meaning: String) {
    lines.append(Line(key: key, written: value?.written, meaning: meaning))
  }

  /// Sets an option to what a key says, or to a default of its own where the file has no such key and no
  /// option says it.
  mutating func set(_ option: String, to value: String, _ key: String, note more: String? = nil) {
    let written = self.value(key)
    let isDefault = written == nil
    if isStated(option), let own = current(option) {
      if isDefault {
        note(key, nil, "--\(option) \(own)")
        return
      }
      if !Self.means(own, value) {
        contradict(
          "--\(option) \(own) contradicts \(key) = \(written?.written ?? "") of \(source)"
            + (Self.means(written?.written ?? "", value) ? "" : ", which means \(value)"))
        return
      }
    }
    options.append((option, value))
    note(
      key, written,
      "--\(option) \(value)" + (isDefault ? ", the file's own default" : "")
        + (more.map { "; \($0)" } ?? ""))
  }

  /// Sets an option to what follows from several keys.
  mutating func derive(_ option: String, _ value: String, _ key: String, _ meaning: String) {
    if isStated(option), let own = current(option), !Self.means(own, value) {
      contradict("--\(option) \(own) contradicts \(source), where it is \(value): \(meaning)")
      return
    }
    options.append((option, value))
    note(key, self.value(key), "--\(option) \(value): \(meaning)")
  }

  /// Leaves an option as it is, for a key that is "auto" or missing.
  mutating func keep(_ option: String, _ key: String) {
    let own = current(option).map { " \($0)" } ?? ""
    let origin =
      isStated(option) ? "" : own.isEmpty ? " is the optimiser's own" : ", Graft's default"
    note(key, value(key), "--\(option)\(own)\(origin)")
  }

  /// Sets or keeps an option; `fallback` is what a missing key means, nil for the option itself.
  mutating func settle(_ option: String, _ key: String, fallback: String? = nil) {
    if let found = value(key), !found.isAuto {
      set(option, to: found.written, key)
    } else if value(key) == nil, let fallback {
      set(option, to: fallback, key)
    } else {
      keep(option, key)
    }
  }

  /// Whether two texts are one value: numbers by their value.
  private static func means(_ left: String, _ right: String) -> Bool {
    if let left = Double(left), let right = Double(right) { return left == right }
    return left == right
  }
}

extension FileResolution {
  /// What is shown: the file and its keys in columns.
  var text: String {
    let width = min(48, lines.map { $0.left.count }.max() ?? 0)
    // What is used comes first.
    let idle = { (line: Line) in line.meaning.hasPrefix("not needed here") }
    let rows = (lines.filter { !idle($0) } + lines.filter(idle)).map { line in
      "  " + line.left + String(repeating: " ", count: max(1, width + 1 - line.left.count))
        + line.meaning
    }
    let count = processes == 1 ? "1 process" : "\(processes) processes"
    return (["\(source), for \(count):"] + rows).joined(separator: "\n")
  }
}

extension FileResolution.Line {
  fileprivate var left: String { key + (written.map { " = \($0)" } ?? " (not there)") }
}

extension JSON {
  /// Whether two values are one: numbers by their value.
  fileprivate func means(_ other: JSON) -> Bool {
    if let left = doubleValue, let right = other.doubleValue { return left == right }
    return self == other
  }

  /// Whether it switches something off.
  fileprivate var isOff: Bool {
    switch self {
    case .null: true
    case .bool(let flag): !flag
    case .string(let text): text == "auto"
    case .object(let object):
      object.count == 0 || object["enabled"]?.boolValue == false
        || object["deepcompile"]?.boolValue == false
        || object["autotp_size"]?.intValue.map { $0 <= 1 } ?? false
    default: false
    }
  }
}
