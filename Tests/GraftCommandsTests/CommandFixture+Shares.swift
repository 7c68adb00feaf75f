import Checkpoints
import Foundation
import Testing

/// Optimisers' states that processes saved, a share each.
extension CommandFixture {
  /// Expects a checkpoint to have a share for each process, none of them much larger, and what the
  /// optimiser's file of another one, of one process, has when they are put together.
  func expectShares(
    _ shared: String, _ count: Int, of whole: String,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let names = (1...count).map { "optimizer-0000\($0)-of-0000\(count).safetensors" }
    let found = try FileManager.default.contentsOfDirectory(atPath: path(shared))
      .filter { $0.hasPrefix("optimizer-") }.sorted()
    #expect(found == names, sourceLocation: sourceLocation)
    guard found == names else { return }
    var pieces: [String: [(start: Int, data: Data)]] = [:]
    var sizes: [Int] = []
    for name in names {
      let file = try SafetensorsFile(path: path(shared + "/" + name))
      var size = 0
      for entry in file.entries {
        let data = Data(file.bytes(of: entry))
        // "parameter@start.kind", or a name without a start for what all have alike.
        let parts = entry.name.split(separator: "@")
        let tail = parts.count == 2 ? parts[1].split(separator: ".") : []
        guard tail.count == 2, let start = Int(tail[0]) else {
          pieces[entry.name] = [(0, data)]
          continue
        }
        size += data.count
        let (whole, kind) = ("\(parts[0]).\(tail[1])", tail[1])
        if kind == "step" || kind == "unorm_vec" || kind.hasPrefix("qmap") {
          pieces[whole] = [(0, data)]
        } else {
          pieces[whole, default: []].append((start, data))
        }
      }
      sizes.append(size)
    }
    // Blocks of 256 elements are not cut, of which tiny parameters fill one each.
    let total = sizes.reduce(0, +)
    for size in sizes {
      #expect(
        abs(Double(size * count) / Double(total) - 1) < 0.5, "\(sizes)",
        sourceLocation: sourceLocation)
    }
    let expected = try SafetensorsFile(path: path(whole + "/optimizer.safetensors"))
    let common = try SafetensorsFile(path: path(shared + "/optimizer.safetensors"))
    for entry in expected.entries {
      let joined = pieces.removeValue(forKey: entry.name).map { pieces in
        pieces.sorted { $0.start < $1.start }.map(\.data).reduce(Data(), +)
      }
      let own = joined ?? common[entry.name].map { Data(common.bytes(of: $0)) }
      #expect(
        own == Data(expected.bytes(of: entry)), "\(entry.name)", sourceLocation: sourceLocation)
    }
    #expect(pieces.isEmpty, "\(pieces.keys)", sourceLocation: sourceLocation)
  }
}
