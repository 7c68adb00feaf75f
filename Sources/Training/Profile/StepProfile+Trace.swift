public import JSONValues
import Tensors

extension StepProfile {
  /// The events as a trace that Perfetto and chrome://tracing open, with the memory of tensors as a curve.
  ///
  /// Times are in microseconds; what an event has beside its time stands in its `args`: the layer, bytes
  /// taken and given back by the event itself, shapes of what an operator got.
  ///
  /// - Note: Source: the Trace Event Format of Chrome, in its form as an object.
  public var trace: JSON {
    var events: [JSON] = [
      [
        "name": "process_name", "ph": "M", "pid": 1, "tid": 0,
        "args": ["name": .string("graft train, step \(step)")],
      ]
    ]
    for thread in Set(entries.map(\.event.thread)).sorted() {
      events.append([
        "name": "thread_name", "ph": "M", "pid": 1, "tid": .integer(thread),
        "args": ["name": .string(thread == 0 ? "training" : "backward \(thread)")],
      ])
    }
    for entry in entries { events.append(.object(event(entry))) }
    var samples: [(time: Int, held: Int)] = []
    for entry in entries {
      samples.append((entry.event.time.lowerBound, entry.event.heldBefore))
      samples.append((entry.event.time.upperBound, entry.event.heldAfter))
    }
    var last: Int?
    for (time, held) in samples.sorted(by: { $0.time < $1.time }) where held != last {
      last = held
      events.append([
        "name": "memory of tensors", "ph": "C", "pid": 1, "tid": 0, "ts": microseconds(time),
        "args": ["bytes": .integer(held)],
      ])
    }
    return ["displayTimeUnit": "ms", "traceEvents": .array(events)]
  }

  private func event(_ entry: Entry) -> JSONObject {
    let event = entry.event
    var details = JSONObject([("phase", .string(entry.phase.rawValue))])
    if !entry.layers.isEmpty {
      details["layer"] = .string(entry.layers.joined(separator: "."))
    }
    if event.allocatedBytes > 0 { details["allocated_bytes"] = .integer(event.allocatedBytes) }
    if event.freedBytes > 0 { details["freed_bytes"] = .integer(event.freedBytes) }
    if event.operations > 0 { details["operations"] = .integer(event.operations) }
    if !event.shapes.isEmpty {
      details["shapes"] = .array(event.shapes.map { .array($0.map(JSON.integer)) })
    }
    return JSONObject([
      ("name", .string(event.name)), ("cat", .string("\(event.kind)")), ("ph", "X"),
      ("ts", microseconds(event.time.lowerBound)), ("dur", microseconds(event.time.count)),
      ("pid", 1), ("tid", .integer(event.thread)), ("args", .object(details)),
    ])
  }

  private func microseconds(_ time: Int) -> JSON { .number(Double(time) / 1000) }
}
