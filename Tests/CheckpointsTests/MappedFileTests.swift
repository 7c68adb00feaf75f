#if os(Linux)
  import Checkpoints
  import Foundation
  import Tensors
  import Testing

  /// A tensor in a mapped file can hand its memory back, and is there again when it is read.
  @Suite struct MappedFileTests {
    /// Kilobytes of a file that are resident in this process.
    private func residentKilobytes(_ path: String) throws -> Int {
      let file = try #require(FileHandle(forReadingAtPath: "/proc/self/smaps"))
      let maps = String(decoding: try file.readToEnd() ?? Data(), as: UTF8.self)
      let lines = maps.split(separator: "\n")
      // The system writes the path without doubled slashes.
      let ending = path.split(separator: "/").suffix(2).joined(separator: "/")
      guard let start = lines.firstIndex(where: { $0.hasSuffix(ending) }) else { return 0 }
      let own = lines[start...].first { $0.hasPrefix("Rss:") }
      return own?.split(separator: " ").compactMap { Int($0) }.first ?? 0
    }

    @Test func memoryOfATensorCanBeReleased() throws {
      let scratch = try Scratch()
      let numbers = Tensor.arange(0, 2 << 20).to(.float32)
      let path = scratch("weights.safetensors")
      try SafetensorsWriter.save(path, tensors: [("w", numbers)])
      let file = try SafetensorsFile(path: path)
      let weight = try file.tensor(try #require(file.entries.first))
      let sum = weight.sum().item()
      let before = try residentKilobytes(path)
      #expect(before >= 8 << 10)
      weight.releaseFileBackedMemory()
      let after = try residentKilobytes(path)
      #expect(after < 1 << 10)
      #expect(weight.sum().item() == sum)
      // What is no file's is left alone.
      numbers.releaseFileBackedMemory()
      #expect(numbers.sum().item() == sum)
    }
  }
#endif
