import Datasets
import Testing

@Suite("Batches of tokens")
struct TokenBatchTests {
  @Test("Rows are padded on the right to the longest, and padding is never asked")
  func padding() {
    let batch = TokenBatch(
      rows: [
        [TokenizedExample(ids: [1, 2, 3], labels: [-100, 2, 3])],
        [TokenizedExample(ids: [4, 5], labels: [4, 5])],
      ], paddingID: 9)
    #expect(batch.rowCount == 2)
    #expect(batch.length == 3)
    #expect(batch.ids == [1, 2, 3, 4, 5, 9])
    #expect(batch.labels == [-100, 2, 3, -100, 5, -100])
    #expect(batch.rowLengths == [3, 2])
    #expect(batch.tokenCount == 5)
    #expect(batch.targetCount == 3)
    #expect(!batch.isPacked)
    #expect(batch.positions == nil)
    #expect(batch.sequenceIDs == nil)
  }

  @Test("Packed documents count their positions anew and do not predict each other")
  func packing() {
    let batch = TokenBatch(
      rows: [
        [
          TokenizedExample(ids: [1, 2], labels: [1, 2]),
          TokenizedExample(ids: [3, 4, 5], labels: [3, 4, 5]),
        ],
        [TokenizedExample(ids: [6, 7, 8], labels: [-100, -100, 8])],
      ], paddingID: 0)
    #expect(batch.isPacked)
    #expect(batch.ids == [1, 2, 3, 4, 5, 6, 7, 8, 0, 0])
    #expect(batch.labels == [-100, 2, -100, 4, 5, -100, -100, 8, -100, -100])
    #expect(batch.positions == [0, 1, 0, 1, 2, 0, 1, 2, 0, 0])
    #expect(batch.sequenceIDs == [1, 1, 2, 2, 2, 1, 1, 1, 0, 0])
    #expect(batch.rowLengths == [5, 3])
    #expect(batch.targetCount == 4)
    #expect(batch.targetCount == batch.labels.count { $0 != ignoredLabelID })
  }

  @Test("However examples are put into rows, the same number of targets counts")
  func targets() {
    let examples = (2..<30).map { length in
      let ids = (0..<length).map { Int32($0 + 1) }
      return TokenizedExample(
        ids: ids, labels: ids.map { $0 % 3 == 0 ? ignoredLabelID : $0 })
    }
    let expected = examples.reduce(0) { $0 + $1.targetCount }
    for packing in [nil, 30, 64] as [Int?] {
      let sampler = BatchSampler(
        examples, options: BatchingOptions(batchSize: 3, packingLength: packing), paddingID: 0)
      let batches = sampler.plan(epoch: 0).map { sampler.batch($0) }
      #expect(batches.reduce(0) { $0 + $1.targetCount } == expected)
      for batch in batches {
        #expect(batch.targetCount == batch.labels.count { $0 != ignoredLabelID })
        #expect(batch.ids.count == batch.rowCount * batch.length)
        #expect(batch.labels.count == batch.ids.count)
      }
    }
  }
}
