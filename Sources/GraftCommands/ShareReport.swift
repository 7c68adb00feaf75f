import JSONValues
import Training

/// What `graft train --json` says of the processes of a run.
enum ShareReport {
  /// An entry with each process's bytes; none where nothing is known.
  static func entries(_ shares: [ProcessShare]) -> [(String, JSON)] {
    guard !shares.isEmpty else { return [] }
    let ranks = shares.enumerated().map { rank, share -> JSON in
      [
        "rank": .integer(rank),
        "kept_bytes": [
          "parameters": .integer(share.parameters), "gradients": .integer(share.gradients),
          "optimizer_state": .integer(share.optimizerState),
          "base": .integer(share.wholeBase + share.sharedBase),
          "base_whole": .integer(share.wholeBase), "base_share": .integer(share.sharedBase),
        ],
        "sent_bytes_per_step": .object(
          JSONObject(share.sent.sorted { $0.key < $1.key }.map { ($0.key, .integer($0.value)) })),
      ]
    }
    return [("ranks", .array(ranks))]
  }
}
