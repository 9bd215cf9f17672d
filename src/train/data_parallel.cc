#include "train/data_parallel.h"

#include <ATen/Parallel.h>
#include <torch/utils.h>

#include <algorithm>

#include "base/clock.h"
#include "train/batch_parts.h"

namespace grab {

DataParallel::DataParallel(const ModelSpec& spec, const Net& net, int threads, Precision precision)
    : spec_(spec), net_(net), pool_(threads) {
  for (int w = 0; w < threads; ++w) workers_.push_back({net.Alias(precision), {}, {}});
  pool_.Run([](int) { at::set_num_threads(1); });
}

BatchLoss DataParallel::Backward(const Batch& batch, const BatchLookup& lookup,
                                 const std::vector<torch::Tensor>& rows,
                                 const Objective& objective) {
  const std::vector<BatchPart> parts = SplitBatch(spec_, batch, lookup, threads());
  pool_.Run([&](int w) {
    if (static_cast<size_t>(w) >= parts.size()) return;
    Worker& worker = workers_[static_cast<size_t>(w)];
    worker.rows.clear();
    for (const torch::Tensor& table : rows) {
      worker.rows.push_back(table.detach().requires_grad_(table.requires_grad()));
    }
    const Stopwatch watch;
    const PartLoss loss = objective(worker.net, parts[static_cast<size_t>(w)], worker.rows);
    worker.loss = {loss.total.item<double>(), loss.main.item<double>(), watch.Seconds()};
    // A part may hold nothing to learn from.
    if (loss.total.requires_grad()) loss.total.backward();
  });
  AddGradients(parts.size(), rows);
  BatchLoss loss;
  for (size_t w = 0; w < parts.size(); ++w) {
    loss.total += workers_[w].loss.total;
    loss.main += workers_[w].loss.main;
    loss.forward_seconds += workers_[w].loss.forward_seconds / static_cast<double>(parts.size());
  }
  return loss;
}

void DataParallel::AddGradients(size_t parts, const std::vector<torch::Tensor>& rows) {
  const size_t weights = net_.weights().size();
  // Whoever adds a tensor, it is added in the order of workers.
  pool_.ForEach(weights + rows.size(), [&](size_t i) {
    torch::NoGradGuard no_grad;
    torch::Tensor to = i < weights ? net_.weights()[i].second : rows[i - weights];
    torch::Tensor sum;
    for (size_t w = 0; w < parts; ++w) {
      const torch::Tensor& leaf =
          i < weights ? workers_[w].net.weights()[i].second : workers_[w].rows[i - weights];
      torch::Tensor& gradient = leaf.mutable_grad();
      if (!gradient.defined()) continue;
      if (sum.defined()) {
        sum.add_(gradient);
      } else {
        sum = gradient;
      }
      gradient = torch::Tensor();
    }
    to.mutable_grad() = sum;
  });
}

std::vector<float> DataParallel::Logits(const Batch& batch, const BatchLookup& lookup,
                                        const std::vector<torch::Tensor>& rows,
                                        const PartForward& forward) {
  const std::vector<BatchPart> parts = SplitBatch(spec_, batch, lookup, threads());
  const size_t tasks = spec_.tasks.size();
  std::vector<float> logits(batch.full.rows * tasks);
  pool_.Run([&](int w) {
    if (static_cast<size_t>(w) >= parts.size()) return;
    torch::NoGradGuard no_grad;
    const BatchPart& part = parts[static_cast<size_t>(w)];
    const torch::Tensor scores = forward(net_, part, rows).contiguous();
    const float* from = scores.data_ptr<float>();
    for (const uint32_t row : part.full_rows) {
      std::copy(from, from + tasks, logits.begin() + static_cast<ptrdiff_t>(row * tasks));
      from += tasks;
    }
  });
  return logits;
}

}  // namespace grab
