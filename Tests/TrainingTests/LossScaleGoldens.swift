import Training

/// Made by scripts/goldens/loss_scales.py, which says what was run.
///
/// DeepSpeed 0.19.8.
enum LossScaleGoldens {
  /// Whether each update is good, and the scale behind it; one scale less where the run ends.
  static let walks: [(settings: LossScaling, updates: [Bool], scales: [Double])] = [
    (
      settings(65536, 1000, 2, false, 1),
      [
        true, true, true, true, true, false, true, false, true, true, true, true, true, true, true,
        true, false, true, false, true, true, true, true, true, true, false, true, true, true, true,
        true, true, true, false, true, false, false, false, true, true, false, true, true, true,
        true, true, false, true, true, true, true, true, true, true, true, true, true, true, true,
        true,
      ],
      [
        65536.0, 65536.0, 65536.0, 65536.0, 65536.0, 65536.0, 65536.0, 32768.0, 32768.0, 32768.0,
        32768.0, 32768.0, 32768.0, 32768.0, 32768.0, 32768.0, 16384.0, 16384.0, 8192.0, 8192.0,
        8192.0, 8192.0, 8192.0, 8192.0, 8192.0, 4096.0, 4096.0, 4096.0, 4096.0, 4096.0, 4096.0,
        4096.0, 4096.0, 2048.0, 2048.0, 1024.0, 512.0, 256.0, 256.0, 256.0, 128.0, 128.0, 128.0,
        128.0, 128.0, 128.0, 64.0, 64.0, 64.0, 64.0, 64.0, 64.0, 64.0, 64.0, 64.0, 64.0, 64.0, 64.0,
        64.0, 64.0,
      ]
    ),
    (
      settings(1024, 3, 1, false, 1),
      [
        true, true, true, true, true, false, true, false, true, true, true, true, true, true, true,
        true, false, true, false, true, true, true, true, true, true, false, true, true, true, true,
        true, true, true, false, true, false, false, false, true, true, false, true, true, true,
        true, true, false, true, true, true, true, true, true, true, true, true, true, true, true,
        true,
      ],
      [
        1024.0, 1024.0, 1024.0, 2048.0, 2048.0, 1024.0, 1024.0, 512.0, 512.0, 512.0, 512.0, 1024.0,
        1024.0, 1024.0, 2048.0, 2048.0, 1024.0, 1024.0, 512.0, 512.0, 512.0, 512.0, 1024.0, 1024.0,
        1024.0, 512.0, 512.0, 512.0, 512.0, 1024.0, 1024.0, 1024.0, 2048.0, 1024.0, 1024.0, 512.0,
        256.0, 128.0, 128.0, 128.0, 64.0, 64.0, 64.0, 64.0, 128.0, 128.0, 64.0, 64.0, 64.0, 64.0,
        128.0, 128.0, 128.0, 256.0, 256.0, 256.0, 512.0, 512.0, 512.0, 1024.0,
      ]
    ),
    (
      settings(1024, 4, 2, false, 16),
      [
        true, true, true, true, true, false, true, false, true, true, true, true, true, true, true,
        true, false, true, false, true, true, true, true, true, true, false, true, true, true, true,
        true, true, true, false, true, false, false, false, true, true, false, true, true, true,
        true, true, false, true, true, true, true, true, true, true, true, true, true, true, true,
        true,
      ],
      [
        1024.0, 1024.0, 1024.0, 1024.0, 2048.0, 2048.0, 2048.0, 1024.0, 1024.0, 1024.0, 1024.0,
        1024.0, 2048.0, 2048.0, 2048.0, 2048.0, 2048.0, 2048.0, 1024.0, 1024.0, 1024.0, 1024.0,
        1024.0, 2048.0, 2048.0, 2048.0, 2048.0, 2048.0, 2048.0, 2048.0, 4096.0, 4096.0, 4096.0,
        4096.0, 4096.0, 2048.0, 1024.0, 512.0, 512.0, 512.0, 256.0, 256.0, 256.0, 256.0, 256.0,
        512.0, 512.0, 512.0, 512.0, 512.0, 512.0, 1024.0, 1024.0, 1024.0, 1024.0, 2048.0, 2048.0,
        2048.0, 2048.0, 4096.0,
      ]
    ),
    (
      settings(256, 5, 3, true, 1),
      [
        true, true, true, true, true, false, true, false, true, true, true, true, true, true, true,
        true, false, true, false, true, true, true, true, true, true, false, true, true, true, true,
        true, true, true, false, true, false, false, false, true, true, false, true, true, true,
        true, true, false, true, true, true, true, true, true, true, true, true, true, true, true,
        true,
      ],
      [
        256.0, 256.0, 256.0, 256.0, 256.0, 256.0, 256.0, 256.0, 256.0, 256.0, 256.0, 256.0, 256.0,
        512.0, 512.0, 512.0, 512.0, 512.0, 512.0, 512.0, 512.0, 512.0, 512.0, 512.0, 1024.0, 1024.0,
        1024.0, 1024.0, 1024.0, 1024.0, 1024.0, 2048.0, 2048.0, 2048.0, 2048.0, 2048.0, 2048.0,
        1024.0, 1024.0, 1024.0, 1024.0, 1024.0, 1024.0, 1024.0, 1024.0, 1024.0, 1024.0, 1024.0,
        1024.0, 1024.0, 1024.0, 1024.0, 2048.0, 2048.0, 2048.0, 2048.0, 2048.0, 4096.0, 4096.0,
        4096.0,
      ]
    ),
    (
      settings(64, 2, 2, true, 4),
      [
        true, true, true, true, true, false, true, false, true, true, true, true, true, true, true,
        true, false, true, false, true, true, true, true, true, true, false, true, true, true, true,
        true, true, true, false, true, false, false, false, true, true, false, true, true, true,
        true, true, false, true, true, true, true, true, true, true, true, true, true, true, true,
        true,
      ],
      [
        64.0, 64.0, 128.0, 128.0, 256.0, 256.0, 256.0, 256.0, 256.0, 256.0, 512.0, 512.0, 1024.0,
        1024.0, 2048.0, 2048.0, 2048.0, 2048.0, 2048.0, 2048.0, 2048.0, 4096.0, 4096.0, 8192.0,
        8192.0, 8192.0, 8192.0, 8192.0, 16384.0, 16384.0, 32768.0, 32768.0, 65536.0, 65536.0,
        65536.0, 65536.0, 32768.0, 16384.0, 16384.0, 16384.0, 16384.0, 16384.0, 16384.0, 32768.0,
        32768.0, 65536.0, 65536.0, 65536.0, 65536.0, 131072.0, 131072.0, 262144.0, 262144.0,
        524288.0, 524288.0, 1048576.0, 1048576.0, 2097152.0, 2097152.0, 4194304.0,
      ]
    ),
    (
      settings(8, 9, 1, false, 2),
      [
        true, true, true, true, true, false, true, false, true, true, true, true, true, true, true,
        true, false,
      ],
      [8.0, 8.0, 8.0, 8.0, 8.0, 4.0, 4.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0]
    ),
  ]

  private static func settings(
    _ initial: Double, _ window: Int, _ hysteresis: Int, _ isConsecutive: Bool, _ minimum: Double
  ) -> LossScaling {
    var settings = LossScaling()
    (settings.initial, settings.window, settings.hysteresis) = (initial, window, hysteresis)
    (settings.isConsecutive, settings.minimum) = (isConsecutive, minimum)
    return settings
  }
}
