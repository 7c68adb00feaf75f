import Foundation
import TestSupport
import Testing
import Training

@Suite struct ProgressDisplayTests {
  /// What a display writes.
  private func written(
    _ kind: ProgressDisplay.Kind?, total: Int = 100, width: Int? = nil,
    _ body: (ProgressDisplay) -> Void
  ) throws -> String {
    try withTemporaryDirectory { directory in
      let path = directory + "/output"
      try Data().write(to: URL(fileURLWithPath: path))
      let handle = try #require(FileHandle(forWritingAtPath: path))
      body(ProgressDisplay(kind: kind, totalSteps: total, output: handle, width: width))
      try handle.close()
      return try String(contentsOfFile: path, encoding: .utf8)
    }
  }

  @Test func `a file gets one plain line a step`() throws {
    let text = try written(nil) { display in
      #expect(display.kind == .plain)
      display.update(step: 25, loss: 1.23456, tokensPerSecond: 987.6, seconds: 30)
      display.message("evaluation after step 25")
      display.update(step: 50, loss: 0.00001, tokensPerSecond: 1000, seconds: 4000)
      display.finish()
    }
    #expect(
      text == """
        step 25/100  loss 1.2346  987 tokens/s  1:30 left
        evaluation after step 25
        step 50/100  loss 1.000e-05  1000 tokens/s  1:06:40 left

        """)
  }

  @Test func `quiet writes nothing`() throws {
    let text = try written(.quiet) { display in
      display.update(step: 1, loss: 1, tokensPerSecond: 1, seconds: 1)
      display.message("text")
      display.finish()
    }
    #expect(text.isEmpty)
  }

  @Test func `a bar is drawn over the one before and makes room for messages`() throws {
    let text = try written(.live, total: 4, width: 80) { display in
      display.update(step: 1, loss: 2, tokensPerSecond: 10, seconds: 2)
      display.message("saved")
      display.update(step: 4, loss: 1, tokensPerSecond: 10, seconds: 8)
      display.finish()
      display.finish()
    }
    let clear = "\r\u{1B}[K"
    #expect(
      text == clear + "[#######.......................]  "
        + "step 1/4  loss 2.0000  10 tokens/s  0:06 left"
        + clear + "saved\n"
        + clear + "[##############################]  "
        + "step 4/4  loss 1.0000  10 tokens/s  0:00 left\n")
  }

  @Test(arguments: 1...100)
  func `no line is wider than the terminal`(width: Int) throws {
    let text = try written(.live, total: 1000, width: width) { display in
      display.update(step: 1001, loss: 2, tokensPerSecond: 12345, seconds: 2)
    }
    let line = text.dropFirst("\r\u{1B}[K".unicodeScalars.count)
    #expect(text.hasPrefix("\r\u{1B}[K"))
    #expect(line.count <= max(1, width - 1))
    #expect(!line.isEmpty)
  }

  @Test func `a resumed run estimates from its own steps, and odd numbers do not trap`() throws {
    let text = try written(.plain) { display in
      display.update(step: 60, loss: .nan, tokensPerSecond: .nan, seconds: 10, startStep: 50)
      display.update(step: 50, loss: .infinity, tokensPerSecond: 1e300, seconds: 0, startStep: 50)
    }
    #expect(
      text == """
        step 60/100  loss nan  ? tokens/s  0:40 left
        step 50/100  loss inf  1000000000000000 tokens/s  ? left

        """)
  }
}
