#if os(Linux)
  import Checkpoints
  import Layers
  import Models
  import TestSupport
  import Tensors
  import Testing

  /// A vocabulary's table in a mapped file is resident only while it is at work.
  @Suite struct MappedTableTests {
    private static let (words, width) = (8192, 256)

    /// A table of 8 MB in a file of its own.
    private func withTable(_ body: (_ table: Parameter, _ path: String) throws -> Void) throws {
      try withTemporaryDirectory { directory in
        let path = directory + "/table.safetensors"
        let values = Tensor.arange(0, Self.words * Self.width).to(.float32).sine()
          .reshaped([Self.words, Self.width])
        try SafetensorsWriter.save(path, tensors: [("table", values)])
        let file = try SafetensorsFile(path: path)
        try body(Parameter(try file.tensor(try #require(file.entries.first))), path)
      }
    }

    @Test func aFrozenTableGivesItsRowsBack() throws {
      try withTable { table, path in
        let embedding = Embedding(weight: table)
        let ids = Tensor.arange(0, Self.words)
        let rows = embedding(ids)
        #expect(residentKilobytes(path) >= 8 << 10)
        table.isTrainable = true
        embedding.releaseFileBackedMemory()
        #expect(residentKilobytes(path) >= 8 << 10)
        table.isTrainable = false
        embedding.releaseFileBackedMemory()
        #expect(residentKilobytes(path) < 1 << 10)
        #expect(embedding(ids).isEqual(to: rows))
      }
    }

    @Test func aHeadLeavesNothingBehind() throws {
      try withTable { table, path in
        let x = Tensor.arange(0, 64 * Self.width).to(.float32).cosine().reshaped([64, Self.width])
        x.requiresGradient = true
        let answers = Tensor.arange(0, 64) * 127
        let loss = linearCrossEntropy(x, weight: table.value, labels: answers, fused: true)
        loss.backward()
        #expect(loss.item().isFinite && x.gradient != nil)
        #expect(residentKilobytes(path) < 1 << 10)
      }
    }
  }
#endif
