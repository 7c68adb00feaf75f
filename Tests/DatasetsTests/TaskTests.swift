import Datasets
import Foundation
import Testing

/// Tasks of rows, for adapters that have several.
@Suite struct TaskTests {
  @Test func wholeNumbersAreRead() throws {
    let directory = FileManager.default.temporaryDirectory
      .appendingPathComponent("graft-test-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: directory) }
    let path = directory.path + "/rows.jsonl"
    let lines = [
      #"{"text": "a", "task_id": 3}"#, #"{"text": "b"}"#,
      #"{"prompt": "c", "completion": "d", "task_id": 0}"#,
      #"{"text": "e", "task_id": "HumanEval/0"}"#, #"{"text": "f", "task_id": -1}"#,
    ]
    try Data(lines.joined(separator: "\n").utf8).write(to: URL(fileURLWithPath: path))
    var reader = try RecordReader(path: path)
    #expect(try reader.readAll().map(\.task) == [3, nil, 0, nil, nil])
    #expect(reader.ignoredKeys == ["task_id": 2])
  }

  @Test func batchesHaveThem() {
    func example(_ task: Int?) -> TokenizedExample {
      TokenizedExample(ids: [1, 2], labels: [1, 2], task: task)
    }
    func tasks(_ all: [Int?]) -> [Int]? {
      TokenBatch(rows: all.map { [example($0)] }, paddingID: 0).tasks
    }
    #expect(tasks([2, 0]) == [2, 0])
    #expect(tasks([2, nil]) == nil)
    #expect(fingerprint(of: [example(1)]) != fingerprint(of: [example(2)]))
  }
}
