import CKernels
import Layers
import Tensors
import TestSupport
import Testing

/// The head's gradient with most of it in few bits is the plain one, but for roundings that are bounded.
@Suite struct LossProductsTests {
  static func normal(_ shape: [Int], seed: UInt64, scale: Double = 1) -> Tensor {
    Tensor.randomNormal(shape, generator: Generator(seed: seed)) * scale
  }

  static func relativeError(_ found: Tensor, _ expected: Tensor) -> Double {
    let (found, expected) = (found.to(.float64), expected.to(.float64))
    return ((found - expected).norm() / expected.norm()).item()
  }

  /// Loss and gradient of rows whose scores have about the deviation `sharpness`.
  static func run(
    _ products: LossProducts, rows: Range<Int> = 0..<61, words: Int = 7001, size: Int = 96,
    sharpness: Double = 3, fused: Bool = true, _ adjusted: (Tensor) -> Tensor = { $0 }
  ) -> (loss: Float, gradient: Tensor) {
    // These weights are no bfloat16 numbers.
    let w = adjusted(normal([words, size], seed: 2))
    let all = (0..<61).map { Int64($0 % 9 == 4 ? ignoredLabel : $0 * 131 % words) }
    let x = adjusted(normal([61, size], seed: 1, scale: sharpness / Double(size).squareRoot()))
      .narrowed(0, rows).cloned()
    x.requiresGradient = true
    let loss = linearCrossEntropy(
      x, weight: w, labels: Tensor(Array(all[rows])), fused: fused, products: products)
    loss.backward()
    return (loss.array(of: Float.self)[0], x.gradient ?? x)
  }

  /// From even shares to rows that one word has nearly alone.
  @Test(
    .enabled(if: BFloat16Rows.isSupported), arguments: [0.05, 1, 3, 8])
  func largeSharesAreExact(_ sharpness: Double) {
    let plain = Self.run(.float32, sharpness: sharpness, fused: false)
    let exact = Self.run(.float32, sharpness: sharpness)
    let split = Self.run(.roundedRest, sharpness: sharpness)
    let rounded = Self.run(.bfloat16, sharpness: sharpness)
    #expect(split.loss == exact.loss)
    #expect(abs(split.loss - plain.loss) <= 2e-6 * plain.loss)
    #expect(Self.relativeError(split.gradient, plain.gradient) < 1e-5)
    #expect(
      Self.relativeError(split.gradient, plain.gradient)
        < 0.1 * Self.relativeError(rounded.gradient, plain.gradient))
    // Rows without a label.
    #expect(split.gradient.selecting(0, Tensor([Int64(4), 13])).norm().item() == 0)
  }

  /// Scores are those in bfloat16; of the gradient more digits are right.
  @Test(.enabled(if: BFloat16Rows.isSupported), arguments: [0.05, 1, 3, 8])
  func wholeNumbers(_ sharpness: Double) {
    // Scores that are the same in bfloat16 and in float32.
    func run(_ products: LossProducts) -> (loss: Float, gradient: Tensor) {
      Self.run(products, sharpness: sharpness) { $0.to(.bfloat16).to(.float32) }
    }
    let exact = run(.float32)
    let (rounded, coded) = (run(.bfloat16), run(.wholeNumberRest))
    #expect(coded.loss == rounded.loss)
    #expect(abs(coded.loss - exact.loss) <= 2e-6 * exact.loss)
    let error = Self.relativeError(coded.gradient, exact.gradient)
    #expect(error < 2e-4 && error > 0)
  }

  /// Scores in whole numbers: columns many times as large as the others do not cost these their digits.
  @Test(.enabled(if: BFloat16Rows.isSupported), arguments: [0, 12]) func scores(large count: Int) {
    let size = 192
    var factors = [Float](repeating: 1, count: size)
    for column in 0..<count { factors[column * 13 + 5] = 40 }
    func run(_ products: LossProducts) -> (loss: Float, gradient: Tensor) {
      let w = Self.normal([7001, size], seed: 2)
      let x = Self.normal([61, size], seed: 1, scale: 0.2) * Tensor(factors)
      // The large columns are of less weight.
      let weight = w / Tensor(factors)
      x.requiresGradient = true
      let loss = linearCrossEntropy(
        x, weight: weight, labels: Tensor((0..<61).map { Int64($0 * 131 % 7001) }), fused: true,
        products: products)
      loss.backward()
      return (loss.array(of: Float.self)[0], (x.gradient ?? x) * Tensor(factors))
    }
    let (exact, coded) = (run(.float32), run(.wholeNumbers))
    #expect(abs(coded.loss - exact.loss) <= 1e-3 * exact.loss)
    let error = Self.relativeError(coded.gradient, exact.gradient)
    #expect(error < 0.02 && error > 0)
  }

  /// What is kept from one loss to the next gives the same bits, and another head is noticed.
  @Test(
    .enabled(if: BFloat16Rows.isSupported),
    arguments: [LossProducts.wholeNumbers, .wholeNumberRest])
  func keptCodes(_ products: LossProducts) {
    let labels = Tensor((0..<61).map { Int64($0 * 131 % 7001) })
    let heads = [2, 3].map { Self.normal([7001, 96], seed: $0) }
    func run(_ weight: Tensor, _ kept: KeptWordCodes?) -> [Tensor] {
      let x = Self.normal([61, 96], seed: 1, scale: 0.3)
      x.requiresGradient = true
      let loss = linearCrossEntropy(
        x, weight: weight, labels: labels, fused: true, products: products, kept: kept)
      loss.backward()
      return [loss.detached(), x.gradient ?? x]
    }
    let plain = heads.map { run($0, nil) }
    #expect(!plain[0][0].isEqual(to: plain[1][0]))
    let kept = KeptWordCodes()
    for head in [0, 0, 0, 1, 1, 1, 0] {
      let found = run(heads[head], kept)
      #expect(zip(found, plain[head]).allSatisfy { $0.isEqual(to: $1) })
    }
  }

  /// Most shares of such rows are below one step, and words have much in common: rounded to nearest alone
  /// the gradient would be off by 1e-2.
  @Test(.enabled(if: BFloat16Rows.isSupported)) func noMassIsLost() {
    let (rows, words, size) = (9, 30_000, 40)
    let w = (Self.normal([words, size], seed: 2, scale: 0.3) + Self.normal([1, size], seed: 3))
      .to(.bfloat16).to(.float32)
    func gradient(_ products: LossProducts) -> Tensor {
      let x = Self.normal([rows, size], seed: 1, scale: 1.1).to(.bfloat16).to(.float32)
      x.requiresGradient = true
      linearCrossEntropy(
        x, weight: w, labels: Tensor((0..<rows).map(Int64.init)), fused: true, products: products
      ).backward()
      return x.gradient ?? x
    }
    #expect(Self.relativeError(gradient(.wholeNumberRest), gradient(.float32)) < 5e-4)
  }

  /// With as many words all shares are small, and they are rounded.
  @Test(.enabled(if: BFloat16Rows.isSupported)) func evenSharesOfManyWords() {
    let plain = Self.run(.float32, words: 30_000, size: 40, sharpness: 0.05, fused: false)
    let split = Self.run(.roundedRest, words: 30_000, size: 40, sharpness: 0.05)
    let error = Self.relativeError(split.gradient, plain.gradient)
    // Both factors are rounded, each by 2^-9 / sqrt(3) on average, in 30,000 terms.
    #expect(error > 1e-7 && error < 1.5e-5)
  }

  /// Neighbouring rows and the number of them change no bit.
  @Test(
    .enabled(if: Tensor.hasFloat32Kernel),
    arguments: [LossProducts.roundedRest, .wholeNumberRest, .bfloat16, .float32])
  func rowsAreIndependent(_ products: LossProducts) {
    func gradient(_ rows: Range<Int>) -> Tensor {
      Runtime.withFastProducts { Self.run(products, rows: rows).gradient }
    }
    let all = gradient(0..<61)
    for rows in [0..<1, 3..<31, 31..<61] {
      let some = gradient(rows)
      #expect(some.isEqual(to: all.narrowed(0, rows)))
    }
  }

  @Test func noRowHasALabel() {
    let x = Self.normal([3, 8], seed: 1)
    x.requiresGradient = true
    let loss = linearCrossEntropy(
      x, weight: Self.normal([50, 8], seed: 2), labels: Tensor([Int64](repeating: -100, count: 3)),
      fused: true, products: .roundedRest)
    loss.backward()
    #expect(loss.item() == 0 && x.gradient?.norm().item() == 0)
  }

  @Test func sharesAreSplit() {
    let (rows, size) = (3, 53)
    var shares = (0..<rows * size).map { Float(($0 * 37) % 101 + 1) / 101 }
    (shares[5], shares[60]) = (.nan, 1.7e-38)
    let sums: [Double] = [2, 0.5, 300]
    var rest = [UInt16](repeating: 7, count: shares.count)
    var large = [UInt16](repeating: 0xFFFF, count: rows * 4)
    graft_split_shares(shares, sums, 0.25, Int64(size), 0, Int64(rows), &rest, &large)
    let rounded = Tensor(shares).to(.bfloat16).to(.float32).array(of: Float.self)
    for (i, share) in shares.enumerated() {
      let (row, word) = (i / size, i % size)
      let isLarge = Double(share) >= 0.25 * sums[row]
      #expect((large[row * 4 + word / 16] >> (word % 16) & 1 == 1) == isLarge)
      let found = Float(bitPattern: UInt32(rest[i]) << 16)
      #expect(share.isNaN ? found.isNaN : found == (isLarge ? 0 : rounded[i]))
    }
    #expect(large[3] >> 5 == 0)
  }

  @Test(arguments: [7, 16, 250, 576]) func largeSharesAreAdded(_ depth: Int) {
    let (rows, size) = (5, 530)
    let shares = Self.normal([rows, size], seed: 1).array(of: Float.self)
    let weight = Self.normal([size, depth], seed: 2)
    let before = Self.normal([rows, depth], seed: 3)
    let numbers = weight.array(of: Float.self)
    var large = [UInt16](repeating: 0, count: rows * 34)
    var chosen = [Float](repeating: 0, count: shares.count)
    for i in shares.indices where i % 7 == 0 || i % 530 < 20 || i > 4 * size {
      large[i / size * 34 + i % size / 16] |= 1 << UInt16(i % size % 16)
      chosen[i] = shares[i]
    }
    let expected =
      before.to(.float64)
      + Tensor(chosen, shape: [rows, size]).to(.float64).matrixProduct(weight.to(.float64))
    var first: [Float]?
    withEachInstructionSet {
      var sum = before.array(of: Float.self)
      graft_add_large_shares(
        shares, large, Int64(size), numbers, Int64(depth), nil, 0, Int64(rows), &sum)
      expectClose(
        Tensor(sum, shape: [rows, depth]).to(.float64), expected, absolute: 5e-5, relative: 1e-5)
      var half = (before * 2).array(of: Float.self)
      graft_add_large_shares(
        shares, large, Int64(size), numbers, Int64(depth), [Float](repeating: 0.5, count: rows), 0,
        Int64(rows), &half)
      #expect(half == sum)
      #expect(sum == first ?? sum)
      first = sum
    }
  }

  /// What the codes say is near the shares, the sum of what was rounded is kept, large shares count nothing.
  @Test func sharesAsWholeNumbers() {
    let (rows, size) = (4, 83)
    var shares = (0..<rows * size).map { i in
      let k = Float(i * 37 % 101 + 1)
      return k * k / 10201
    }
    shares[3 * size + 2] = .nan
    let factors = (0..<size).map { Float($0 % 5) / 3 }
    // Of the second row all are large; the last one has no sum.
    let sums: [Double] = [2, 1e-9, 40, .nan]
    var first: [[Float]]?
    withEachInstructionSet {
      var large = [UInt16](repeating: 0xFFFF, count: rows * 6)
      var codes = [Int8](repeating: 9, count: shares.count)
      var scales = [Float](repeating: 9, count: rows)
      var offsets = scales
      var codeSums = [Int32](repeating: 9, count: rows)
      graft_quantize_shares(
        shares, sums, 0.125, factors, Int64(size), 0, Int64(rows), &large, &codes, &scales,
        &offsets, &codeSums)
      for row in 0..<3 {
        var (exact, found) = (0.0, 0.0)
        for word in 0..<size {
          let share = shares[row * size + word]
          let isLarge = Double(share) >= 0.125 * sums[row]
          #expect((large[row * 6 + word / 16] >> (word % 16) & 1 == 1) == isLarge)
          let value = isLarge ? 0 : Double(share * factors[word])
          let code = Double(codes[row * size + word]) + 127
          #expect(abs(code * Double(scales[row]) - value) <= 0.5001 * Double(scales[row]))
          (exact, found) = (exact + value, found + code * Double(scales[row]))
        }
        let total = codes[row * size..<(row + 1) * size].reduce(0) { $0 + 128 * Int($1) }
        #expect(Int(codeSums[row]) == total)
        // What the mean over all words gives back.
        let back = (Double(offsets[row]) * 127 - 127 * Double(scales[row])) * Double(size)
        #expect(abs(found + back - exact) < 2e-4 * max(exact, 1e-6))
      }
      #expect(scales[1] == 0 && scales[3].isNaN && offsets[3].isNaN)
      let all = [scales, offsets].map { Array($0[..<3]) } + [codes[..<(3 * size)].map(Float.init)]
      #expect(all == first ?? all)
      first = all
    }
  }

  @Test func columnSums() {
    let (rows, columns) = (70, 133)
    let codes = (0..<rows * columns).map { Int8($0 * 31 % 255 - 127) }
    var sums = [Float](repeating: .nan, count: columns)
    graft_code_column_sums(codes, Int64(rows), Int64(columns), 0, 64, &sums)
    graft_code_column_sums(codes, Int64(rows), Int64(columns), 64, Int64(columns), &sums)
    for column in 0..<columns {
      let total = (0..<rows).reduce(0) { $0 + Int(codes[$1 * columns + column]) }
      #expect(sums[column] == Float(total))
    }
  }
}
