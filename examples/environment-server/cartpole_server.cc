// A server of environments in C++, which needs nothing of this project but crates/impala-grpc/proto/impala_env.proto: CartPole
// with the constants of Gymnasium's CartPole-v1, E carts a stream, a thread a stream. README.md beside it has the commands.
//
//   cartpole_server 127.0.0.1:50051

#include <grpcpp/grpcpp.h>

#include <cmath>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <iostream>
#include <random>
#include <string>
#include <vector>

#include "impala_env.grpc.pb.h"

namespace {

using impala::env::v1::Environments;
using impala::env::v1::Hello;
using impala::env::v1::Observed;
using impala::env::v1::Reply;
using impala::env::v1::Request;
using impala::env::v1::Spec;

constexpr uint32_t kVersion = 1;
constexpr uint32_t kMostEnvs = 4096;
constexpr int kTimeLimit = 500;

// Both the frames and the rewards of the protocol are the bytes of these.
static_assert(sizeof(float) == 4);

class Cart {
 public:
  explicit Cart(uint64_t seed) : random_(seed) { Reset(); }

  void Reset() {
    std::uniform_real_distribution<double> start(-0.05, 0.05);
    for (double& x : state_) x = start(random_);
    steps_ = 0;
    over_ = false;
  }

  // Whether the episode is over: the next step starts another.
  bool over() const { return over_; }

  // Steps on; sets whether the episode terminated or was cut off.
  void Step(int action, bool* terminated, bool* truncated) {
    const double force = action == 1 ? 10.0 : -10.0;
    const double pole_mass = 0.1, total_mass = 1.1, half_length = 0.5, tau = 0.02;
    const double pole_moment = pole_mass * half_length;
    auto& [x, v, angle, spin] = state_;
    const double sine = std::sin(angle), cosine = std::cos(angle);
    const double push = (force + pole_moment * spin * spin * sine) / total_mass;
    const double spin_rate = (9.8 * sine - cosine * push) /
                             (half_length * (4.0 / 3.0 - pole_mass * cosine * cosine / total_mass));
    const double rate = push - pole_moment * spin_rate * cosine / total_mass;
    x += tau * v;
    v += tau * rate;
    angle += tau * spin;
    spin += tau * spin_rate;
    ++steps_;
    *terminated = std::abs(x) > 2.4 || std::abs(angle) > 12.0 * 2.0 * M_PI / 360.0;
    *truncated = !*terminated && steps_ >= kTimeLimit;
    over_ = *terminated || *truncated;
  }

  void Show(float* frame) const {
    for (int i = 0; i < 4; ++i) frame[i] = static_cast<float>(state_[i]);
  }

 private:
  std::mt19937_64 random_;
  double state_[4];
  int steps_;
  bool over_;
};

// The carts of one stream, and what the last step gave.
class Carts {
 public:
  Carts(uint32_t envs, uint64_t seed) : frames_(4 * envs), rewards_(envs), terminated_(envs, 0), truncated_(envs, 0) {
    std::seed_seq seeds{static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)};
    std::vector<uint32_t> words(2 * envs);
    seeds.generate(words.begin(), words.end());
    for (uint32_t i = 0; i < envs; ++i) carts_.emplace_back(uint64_t{words[2 * i]} << 32 | words[2 * i + 1]);
  }

  void Reset(Observed* out) {
    for (Cart& cart : carts_) cart.Reset();
    Show(out);
  }

  // False if the actions are none.
  bool Step(const std::string& bytes, Observed* out) {
    if (bytes.size() != 4 * carts_.size()) return false;
    std::vector<int32_t> actions(carts_.size());
    std::memcpy(actions.data(), bytes.data(), bytes.size());
    for (int32_t action : actions) {
      if (action != 0 && action != 1) return false;
    }
    for (size_t i = 0; i < carts_.size(); ++i) {
      bool terminated = false, truncated = false;
      rewards_[i] = carts_[i].over() ? 0.0f : 1.0f;
      if (carts_[i].over()) {
        carts_[i].Reset();
      } else {
        carts_[i].Step(actions[i], &terminated, &truncated);
      }
      terminated_[i] = terminated;
      truncated_[i] = truncated;
    }
    Show(out);
    out->set_rewards(rewards_.data(), sizeof(float) * rewards_.size());
    out->set_terminated(terminated_.data(), terminated_.size());
    out->set_truncated(truncated_.data(), truncated_.size());
    return true;
  }

 private:
  void Show(Observed* out) {
    for (size_t i = 0; i < carts_.size(); ++i) carts_[i].Show(&frames_[4 * i]);
    out->set_frames(frames_.data(), sizeof(float) * frames_.size());
  }

  std::vector<Cart> carts_;
  std::vector<float> frames_, rewards_;
  std::vector<uint8_t> terminated_, truncated_;
};

Reply Described() {
  Reply reply;
  Spec* spec = reply.mutable_spec();
  spec->set_version(kVersion);
  spec->set_dtype(impala::env::v1::F32);
  spec->add_shape(4);
  spec->set_action(impala::env::v1::DISCRETE);
  spec->add_sizes(2);
  spec->set_name("CartPole-v1 in C++");
  return reply;
}

class Service final : public Environments::Service {
  grpc::Status Run(grpc::ServerContext*, grpc::ServerReaderWriter<Reply, Request>* stream) override {
    Request request;
    if (!stream->Read(&request)) return grpc::Status::OK;
    if (!request.has_hello()) return {grpc::StatusCode::FAILED_PRECONDITION, "a stream begins with a hello"};
    const Hello& hello = request.hello();
    Reply reply;
    if (hello.version() != kVersion) {
      reply.mutable_unusable()->set_problem("this server speaks version 1 of the protocol");
    } else if (hello.envs() == 0 || hello.envs() > kMostEnvs) {
      reply.mutable_unusable()->set_problem("this server makes 1 to 4096 environments");
    } else if (hello.arguments_size() > 0) {
      reply.mutable_unusable()->set_problem("this environment takes no options, and " + hello.arguments(0).key() + " was given");
    } else {
      reply = Described();
    }
    if (!stream->Write(reply) || reply.has_unusable()) return grpc::Status::OK;
    Carts carts(hello.envs(), hello.seed());
    while (stream->Read(&request)) {
      reply.Clear();
      if (request.has_reset()) {
        reply.mutable_observed()->set_number(request.reset().number());
        carts.Reset(reply.mutable_observed());
      } else if (request.has_step()) {
        reply.mutable_observed()->set_number(request.step().number());
        if (!carts.Step(request.step().actions(), reply.mutable_observed())) {
          reply.mutable_failure()->set_number(request.step().number());
          reply.mutable_failure()->set_reason("these are not actions of this environment");
        }
      } else {
        return {grpc::StatusCode::FAILED_PRECONDITION, "after a hello come resets and steps"};
      }
      if (!stream->Write(reply)) break;
    }
    return grpc::Status::OK;
  }
};

}  // namespace

int main(int argc, char** argv) {
  const std::string address = argc > 1 ? argv[1] : "127.0.0.1:50051";
  // Before threads: all of them inherit it, and only the last lines take the signals.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  Service service;
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort(address, grpc::InsecureServerCredentials(), &port);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.RegisterService(&service);
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr || port == 0) {
    std::cerr << "cannot listen at " << address << "\n";
    return 2;
  }
  std::cout << "serving CartPole at " << address.substr(0, address.rfind(':')) << ":" << port << std::endl;
  int signal = 0;
  sigwait(&signals, &signal);
  server->Shutdown(std::chrono::system_clock::now());
  return 0;
}
