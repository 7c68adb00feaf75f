#if os(Linux)
  import Checkpoints
  import Foundation
  import TestSupport
  import Tensors
  import Testing

  /// A tensor in a mapped file can hand its memory back, and is there again when it is read.
  @Suite struct MappedFileTests {
    @Test func memoryOfATensorCanBeReleased() throws {
      let scratch = try Scratch()
      let numbers = Tensor.arange(0, 2 << 20).to(.float32)
      let path = scratch("weights.safetensors")
      try SafetensorsWriter.save(path, tensors: [("w", numbers)])
      let file = try SafetensorsFile(path: path)
      let weight = try file.tensor(try #require(file.entries.first))
      let sum = weight.sum().item()
      let before = residentKilobytes(path)
      #expect(before >= 8 << 10)
      weight.releaseFileBackedMemory()
      let after = residentKilobytes(path)
      #expect(after < 1 << 10)
      #expect(weight.sum().item() == sum)
      // What is no file's is left alone.
      numbers.releaseFileBackedMemory()
      #expect(numbers.sum().item() == sum)
    }
  }
#endif
