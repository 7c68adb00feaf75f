import CTorch

/// Runs `body` as a named part of what is being recorded on this thread; see ``recorded(_:)``.
///
/// Costs a look at the thread's memory where nothing is recorded; `name` is not computed then.
///
/// - Parameters:
///   - kind: What the part is.
///   - name: Its name; layers inside each other give a path like "model.layers.3.mlp".
///   - operations: Multiplications and additions that it does, where they are known.
///   - body: The part.
/// - Returns: What `body` returns.
public func withScope<Result>(
  _ kind: RecordedEvent.Kind, _ name: @autoclosure () -> String, operations: Int = 0,
  _ body: () throws -> Result
) rethrows -> Result {
  guard ctorch_is_recording() else { return try body() }
  let event = ctorch_event_begin(kind.rawValue, name(), Int64(operations))
  defer { ctorch_event_end(event) }
  return try body()
}
