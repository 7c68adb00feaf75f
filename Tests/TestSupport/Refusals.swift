public import Testing

/// Expects something to be refused with a message that has every one of some parts.
///
/// A failure shows the whole message. Not for a closure that has `#expect(throws:)` with a body too:
/// Swift 6.3 numbers the bodies of macros apart from others, so that two may get one name.
///
/// - Parameters:
///   - parts: What the message has to say.
///   - sourceLocation: Where a failure is reported.
///   - body: What throws.
public func expectRefusal<Value>(
  _ parts: String..., sourceLocation: SourceLocation = #_sourceLocation,
  _ body: () throws -> Value
) {
  expectRefusal(parts: parts, sourceLocation: sourceLocation, body)
}

/// Expects something to be refused with a message that has every one of some parts.
///
/// - Parameters:
///   - parts: What the message has to say.
///   - sourceLocation: Where a failure is reported.
///   - body: What throws.
public func expectRefusal<Value>(
  parts: [String], sourceLocation: SourceLocation = #_sourceLocation, _ body: () throws -> Value
) {
  do {
    _ = try body()
    Issue.record("accepted, not refused for \(parts)", sourceLocation: sourceLocation)
  } catch {
    let message = "\(error)"
    let missing = parts.filter { !message.contains($0) }
    #expect(missing.isEmpty, "\(message)", sourceLocation: sourceLocation)
  }
}
