import Datasets
import Foundation
import Testing

@Suite("Order and batches")
struct BatchSamplerTests {
  private let lengths = (0..<103).map { 2 + ($0 * 37) % 29 }

  private func sampler(
    _ lengths: [Int], batchSize: Int = 4, shuffles: Bool = true, groups: Bool = true,
    packing: Int? = nil, seed: UInt64 = 1
  ) -> BatchSampler {
    BatchSampler(
      lengths.enumerated().map { example($0.element, id: Int32($0.offset)) },
      options: BatchingOptions(
        batchSize: batchSize, shuffles: shuffles, groupsByLength: groups, packingLength: packing,
        seed: seed),
      paddingID: 0)
  }

  @Test("The generator is SplitMix64")
  func generator() {
    // The first outputs for the seeds 0 and 1234567 as published with the algorithm.
    var zero = SeededGenerator(seed: 0)
    #expect(
      (0..<3).map { _ in zero.next() } == [
        0xE220_A839_7B1D_CDAF, 0x6E78_9E6A_A1B9_65F4, 0x06C4_5D18_8009_454F,
      ])
    var other = SeededGenerator(seed: 1_234_567)
    #expect(
      (0..<2).map { _ in other.next() } == [6_457_827_717_110_365_317, 3_203_168_211_198_807_973])
    var bounded = SeededGenerator(seed: 5)
    var counts = [Int](repeating: 0, count: 7)
    for _ in 0..<7000 { counts[bounded.next(below: 7)] += 1 }
    #expect(counts.allSatisfy { (850...1150).contains($0) }, "\(counts)")
    var elements = Array(0..<50)
    bounded.shuffle(&elements)
    #expect(elements != Array(0..<50))
    #expect(elements.sorted() == Array(0..<50))
  }

  @Test(
    "Each epoch has each example once, in its own order",
    arguments: [(true, nil), (false, nil), (false, 40)] as [(Bool, Int?)])
  func epochs(groups: Bool, packing: Int?) {
    let sampler = sampler(lengths, groups: groups, packing: packing)
    let plans = (0..<3).map { sampler.plan(epoch: $0) }
    for plan in plans {
      #expect(plan.flatMap { $0.flatMap { $0 } }.sorted() == Array(lengths.indices))
      #expect(plan.count == plans[0].count)
      #expect(plan.allSatisfy { (1...4).contains($0.count) })
    }
    #expect(plans[0] != plans[1])
    #expect(plans[1] != plans[2])
    #expect(sampler.plan(epoch: 1) == plans[1], "the order is a function of seed and epoch")
    let other = self.sampler(lengths, groups: groups, packing: packing, seed: 2)
    #expect(other.plan(epoch: 0) != plans[0])
  }

  @Test("Without shuffling and grouping the order is that of the file")
  func fileOrder() {
    let plan = sampler(lengths, shuffles: false, groups: false).plan(epoch: 3)
    #expect(plan.flatMap { $0.flatMap { $0 } } == Array(lengths.indices))
    #expect(plan.count == 26)
    #expect(plan.last?.count == 3)
  }

  @Test("Grouping by length saves padding and keeps the batches' order random")
  func grouping() {
    func padding(_ plan: [[[Int]]]) -> Int {
      plan.reduce(0) { sum, batch in
        let sizes = batch.map { $0.reduce(0) { $0 + lengths[$1] } }
        return sum + (sizes.max() ?? 0) * sizes.count - sizes.reduce(0, +)
      }
    }
    let plan = sampler(lengths).plan(epoch: 0)
    #expect(padding(plan) * 5 < padding(sampler(lengths, groups: false).plan(epoch: 0)))
    let longest = plan.map { lengths[$0[0][0]] }
    #expect(longest != longest.sorted() && longest != longest.sorted(by: >))
  }

  @Test("Packing fills rows, never beyond their length, the fullest that has room first")
  func packing() {
    let plan = sampler([6, 5, 4, 3, 2, 2], shuffles: false, packing: 8).plan(epoch: 0)
    #expect(plan == [[[0, 4], [1, 3], [2, 5]]])
    let rows = sampler(lengths, packing: 40).plan(epoch: 0).flatMap { $0 }
    let sizes = rows.map { $0.reduce(0) { $0 + lengths[$1] } }
    let total = lengths.reduce(0, +)
    #expect(sizes.allSatisfy { $0 <= 40 })
    #expect(rows.count <= ((total + 39) / 40) * 11 / 9 + 1)
    let oversized = sampler([50, 3, 40, 37], shuffles: false, packing: 40).plan(epoch: 0)
    #expect(oversized.flatMap { $0 } == [[0], [2], [3, 1]])
  }

  @Test("Packed rows come in random order, not the longest first")
  func packedOrder() {
    let rows = sampler(lengths, packing: 40).plan(epoch: 0).flatMap { $0 }
    let longest = rows.map { row in row.map { lengths[$0] }.max() ?? 0 }
    #expect(longest != longest.sorted(by: >))
  }

  @Test("Packing a large file is quick")
  func manyExamples() {
    let sizes = (0..<50_000).map { 5 + ($0 &* 7919) % 1500 }
    let rows = sampler(sizes, packing: 2048).plan(epoch: 0).flatMap { $0 }
    #expect(rows.flatMap { $0 }.count == sizes.count)
    let fill = Double(sizes.reduce(0, +)) / Double(rows.count * 2048)
    #expect(fill > 0.98)
  }

  @Test("A stream groups batches, ends groups with epochs and goes on from any position")
  func stream() throws {
    let sampler = sampler(lengths, batchSize: 4)
    var whole = BatchStream(sampler, accumulating: 4)
    #expect(whole.groupsPerEpoch == 7)
    var groups: [BatchGroup] = []
    var positions: [BatchPosition] = [whole.position]
    for _ in 0..<17 {
      let group = whole.next()
      groups.append(try #require(group))
      positions.append(whole.position)
    }
    #expect(groups.prefix(7).map(\.batches.count) == [4, 4, 4, 4, 4, 4, 2])
    #expect(
      groups.prefix(8).map(\.endsEpoch) == [false, false, false, false, false, false, true, false])
    #expect(
      groups.map(\.epoch) == Array(repeating: 0, count: 7) + Array(repeating: 1, count: 7) + [
        2, 2, 2,
      ])
    #expect(groups[0].targetCount == groups[0].batches.map(\.targetCount).reduce(0, +))
    let tokens = groups.prefix(7).reduce(0) { $0 + $1.tokenCount }
    #expect(tokens == lengths.reduce(0, +))
    for start in [0, 3, 6, 7, 8, 14, 16] {
      let data = try JSONEncoder().encode(positions[start])
      let position = try JSONDecoder().decode(BatchPosition.self, from: data)
      var resumed = try BatchStream(sampler, accumulating: 4, from: position)
      for index in start..<17 { #expect(resumed.next() == groups[index]) }
    }
  }

  @Test("A position of other data, order or batch size is refused")
  func changedData() throws {
    var stream = BatchStream(sampler(lengths))
    _ = stream.next()
    var changed = lengths
    changed[5] += 1
    for other in [
      sampler(changed), sampler(lengths, batchSize: 5), sampler(lengths, seed: 2),
      sampler(lengths, groups: false), sampler(lengths, packing: 64),
    ] {
      let error = #expect(throws: DatasetError.self) {
        try BatchStream(other, from: stream.position)
      }
      guard case .changedData = error else {
        Issue.record("\(String(describing: error))")
        continue
      }
    }
    var beyond = stream.position
    beyond.batchIndex = 27
    #expect(throws: DatasetError.self) { try BatchStream(sampler(lengths), from: beyond) }
  }

  @Test("The fingerprint is FNV-1a of lengths, ids and labels")
  func fingerprints() {
    #expect(fingerprint(of: []) == "cbf29ce484222325")
    let one = TokenizedExample(ids: [1, 258], labels: [-100, 258])
    #expect(fingerprint(of: [one]) == "9b4aab09aa1afda5")
    let changed = TokenizedExample(ids: [1, 258], labels: [1, 258])
    #expect(fingerprint(of: [one]) != fingerprint(of: [changed]))
    #expect(fingerprint(of: [one, changed]) != fingerprint(of: [changed, one]))
  }
}
