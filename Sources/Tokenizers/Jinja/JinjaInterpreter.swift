extension Jinja {
  /// How much a template may use; templates come from strangers.
  package struct Limits: Sendable {
    /// Bytes of the rendered text, and of any single string.
    package var textBytes = 64 << 20
    /// Statements run, loop rounds, elements made and, in units of 64, bytes made.
    package var work = 20_000_000
    /// How deep calls, blocks and expressions may nest while running.
    package var depth = 300

    package init() {}
  }

  /// Runs a program once.
  final class Interpreter {
    let program: Program
    let limits: Limits
    let clock: @Sendable () -> Clock
    let rootScope: Scope
    let loopID: Int?
    let recordsSpans: Bool

    /// The line that is running, for messages.
    var line = 1
    var depth = 0
    /// The text of the page, and above it the texts that blocks and macros are collecting.
    var buffers: [String] = [""]
    /// UTF-8 ranges of the text that `generation` blocks wrote.
    private(set) var spans: [Range<Int>] = []
    private var work = 0

    init(
      _ program: Program, variables: [(name: String, value: Value)], limits: Limits,
      recordsSpans: Bool, clock: @escaping @Sendable () -> Clock
    ) {
      self.program = program
      self.limits = limits
      self.clock = clock
      self.recordsSpans = recordsSpans
      let context = Scope(parent: nil)
      var ids: [String: Int] = [:]
      for (id, name) in program.names.enumerated() {
        ids[name] = id
      }
      for function in Function.allCases where function != .dictFromKeys {
        if let id = ids[function.rawValue] {
          context.set(id, to: .function(function))
        }
      }
      for variable in variables {
        if let id = ids[variable.name] {
          context.set(id, to: variable.value)
        }
      }
      rootScope = Scope(parent: context)
      loopID = ids["loop"]
    }

    /// Runs the program and gives its text.
    func run() throws(ChatTemplateError) -> String {
      _ = try execute(program.body, in: rootScope)
      return buffers[0]
    }

    // MARK: Errors and limits

    func failure(_ message: String) -> ChatTemplateError {
      .runtime(line: line, message: message)
    }

    /// Counts work and stops a template that does too much of it.
    func charge(_ amount: Int) throws(ChatTemplateError) {
      work += amount
      guard work <= limits.work else {
        throw .limitExceeded(line: line, limit: "it runs for too long")
      }
    }

    /// Counts the work of making a text of the given size, before it is made.
    func chargeText(_ bytes: Int) throws(ChatTemplateError) {
      guard bytes <= limits.textBytes else {
        throw .limitExceeded(
          line: line, limit: "it makes a text of more than \(limits.textBytes) bytes")
      }
      try charge(bytes / 64 + 1)
    }

    func enter() throws(ChatTemplateError) {
      depth += 1
      guard depth <= limits.depth else {
        throw .limitExceeded(line: line, limit: "it nests calls or blocks too deeply")
      }
    }

    func leave() {
      depth -= 1
    }

    // MARK: Output

    func write(_ text: String) throws(ChatTemplateError) {
      let top = buffers.count - 1
      try chargeText(text.utf8.count)
      guard buffers[top].utf8.count + text.utf8.count <= limits.textBytes else {
        throw .limitExceeded(
          line: line, limit: "its text is longer than \(limits.textBytes) bytes")
      }
      buffers[top] += text
    }

    func write(_ value: Value) throws(ChatTemplateError) {
      switch value {
      case .string(let text), .markup(let text): try write(text)
      case .undefined: break
      default: try write(try string(value))
      }
    }

    /// What `str(value)` gives.
    func string(_ value: Value) throws(ChatTemplateError) -> String {
      if let text = value.text {
        return text
      }
      if case .loop(let loop) = value, let index = try loop.attribute("index") {
        return "<LoopContext \(try string(index))/\(try loop.count())>"
      }
      var writer = TextWriter(limit: limits.textBytes)
      guard writer.writeString(value) else {
        throw .limitExceeded(line: line, limit: "a value is too large to be written")
      }
      try chargeText(writer.output.utf8.count)
      return writer.output
    }

    /// Runs statements and gives their text instead of writing it to the page.
    func capture(
      _ body: [Statement], in scope: Scope
    ) throws(ChatTemplateError) -> (text: String, flow: Flow) {
      buffers.append("")
      let flow = try execute(body, in: scope)
      return (buffers.removeLast(), flow)
    }

    /// Runs the body of a `generation` block and remembers where its text is.
    func recordSpan(_ body: [Statement], in scope: Scope) throws(ChatTemplateError) {
      guard recordsSpans else {
        _ = try execute(body, in: scope)
        return
      }
      guard buffers.count == 1 else {
        throw failure(
          "a generation block inside of a macro or another captured text has no place in the page")
      }
      let start = buffers[0].utf8.count
      _ = try execute(body, in: scope)
      let end = buffers[0].utf8.count
      if end > start {
        spans.append(start..<end)
      }
    }
  }
}
